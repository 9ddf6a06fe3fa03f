package httpapi

import "github.com/danielgtaylor/huma/v2"

const (
	idPattern    = "[A-Za-z0-9_.@#-]{1,64}"
	groupPattern = "^(" + idPattern + "|dm:" + idPattern + ":" + idPattern + ")$"
)

// described is what the OpenAPI file says of a parameter wherever it stands.
type described struct {
	doc     string
	pattern string
	example any
}

var pathParameters = map[string]described{
	"g":    {"The group's id, or dm:<lower>:<higher> for a direct conversation.", groupPattern, "tea"},
	"u":    {"The user's id.", "^" + idPattern + "$", "bob"},
	"user": {"The user's id.", "^" + idPattern + "$", "bob"},
	"seq":  {"The message's seq.", "", 17},
	"key":  {"The upload's key.", "", "5d41402abc4b2a76b9719d911017c592"},
	"name": {"The upload's name.", "", "cat.jpg"},
}

var queryParameters = map[string]described{
	"user":       {"", "^" + idPattern + "$", "bob"},
	"cursor":     {"", "", nil},
	"limit":      {"", "", 50},
	"seq":        {"The message's seq.", "", 17},
	"after_seq":  {"Messages behind this seq; exclusive.", "", 0},
	"before_seq": {"Messages before this seq; exclusive.", "", 18},
	"before_ms":  {"Messages before this time, in milliseconds since 1970; exclusive.", "", 1795266606268},
}

// describeParameters gives every parameter its words, bounds and example. A default of limit is in its words only: a
// tool that fills it in would ask for something else where the server's setting differs.
func describeParameters(spec *huma.OpenAPI) {
	for _, op := range operations(spec) {
		for _, p := range op.Parameters {
			switch p.In {
			case "path":
				describe(p, pathParameters[p.Name])
			case "query":
				describe(p, queryParameters[p.Name])
			}
		}
	}
}

func describe(p *huma.Param, d described) {
	if p.Description == "" {
		p.Description = d.doc
	}
	p.Schema.Description = "" // the parameter's own says it
	if d.pattern != "" && p.Schema.Type == huma.TypeArray {
		p.Schema.Items.Pattern = d.pattern
		p.Example = []any{d.example}
		return
	}
	p.Schema.Pattern = d.pattern
	if d.example != nil {
		p.Example = d.example
	}
}
