package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsTemplate string

// docsPage is what the page shows. It needs no script, so that it works by keyboard and loads nothing.
type docsPage struct {
	Tags    []docsTag
	Schemas []docsSchema
}

type docsTag struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	*huma.Operation
	Callers    string
	Parameters []docsField
	Request    *docsBody
	Answers    []docsAnswer
}

type docsAnswer struct {
	Status, Description string
	Body                *docsBody
}

// docsBody is the type of a body and an example.
type docsBody struct {
	Type    []docsWord
	Example string
}

type docsSchema struct {
	Name   string
	Closed bool
	Fields []docsField
}

type docsField struct {
	Name, In string
	Required bool
	Type     []docsWord
	Bounds   string
	Doc      string
}

// docsWord is a piece of a type's name; Ref is the schema that it links to.
type docsWord struct{ Text, Ref string }

// docsOf makes the page and the policy that lets a browser take its style, and nothing else.
func docsOf(spec *huma.OpenAPI) (page []byte, policy string, err error) {
	parsed, err := template.New("docs").Funcs(template.FuncMap{"prose": docsProse}).Parse(docsTemplate)
	if err != nil {
		return nil, "", fmt.Errorf("httpapi: docs page: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, docsPage{docsTags(spec), docsSchemas(spec)}); err != nil {
		return nil, "", fmt.Errorf("httpapi: docs page: %w", err)
	}
	_, style, _ := strings.Cut(out.String(), "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	hash := base64.StdEncoding.EncodeToString(sum[:])
	return out.Bytes(), "default-src 'none'; style-src 'sha256-" + hash + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

// docsProse makes `words` in backquotes code.
func docsProse(text string) template.HTML {
	pieces := strings.Split(template.HTMLEscapeString(text), "`")
	for i := 1; i < len(pieces); i += 2 {
		pieces[i] = "<code>" + pieces[i] + "</code>"
	}
	return template.HTML(strings.Join(pieces, "")) // escaped above
}

func docsTags(spec *huma.OpenAPI) []docsTag {
	byTag := map[string][]docsOperation{}
	for _, op := range operations(spec) {
		byTag[op.Tags[0]] = append(byTag[op.Tags[0]], docsOperationOf(op))
	}
	tags := make([]docsTag, 0, len(byTag))
	for _, name := range slices.Sorted(maps.Keys(byTag)) {
		tags = append(tags, docsTag{name, byTag[name]})
	}
	return tags
}

func docsOperationOf(op *huma.Operation) docsOperation {
	d := docsOperation{Operation: op, Callers: "everybody"}
	if len(op.Security) > 0 {
		var callers []string
		for _, scheme := range op.Security {
			callers = append(callers, slices.Collect(maps.Keys(scheme))...)
		}
		d.Callers = strings.NewReplacer(userScheme, "a user's token", serverScheme, "an API key").Replace(strings.Join(callers, " or "))
	}
	for _, p := range op.Parameters {
		d.Parameters = append(d.Parameters, docsField{p.Name, p.In, p.Required, docsType(p.Schema), docsBounds(p.Schema), p.Description})
	}
	if op.RequestBody != nil {
		d.Request = docsBodyOf(op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		response := op.Responses[status]
		d.Answers = append(d.Answers, docsAnswer{status, response.Description, docsBodyOf(response.Content)})
	}
	return d
}

// docsBodyOf is nil for problems, which all look alike, and where there is no body.
func docsBodyOf(content map[string]*huma.MediaType) *docsBody {
	body := content["application/json"]
	if body == nil {
		return nil
	}
	d := &docsBody{Type: docsType(body.Schema)}
	if body.Example != nil {
		indented, _ := json.MarshalIndent(body.Example, "", "  ") // it was JSON
		d.Example = string(indented)
	}
	return d
}

func docsSchemas(spec *huma.OpenAPI) []docsSchema {
	all := spec.Components.Schemas.Map()
	list := make([]docsSchema, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		schema := all[name]
		d := docsSchema{Name: name, Closed: schema.AdditionalProperties == false}
		for _, field := range slices.Sorted(maps.Keys(schema.Properties)) {
			s := schema.Properties[field]
			required := slices.Contains(schema.Required, field)
			d.Fields = append(d.Fields, docsField{field, "", required, docsType(s), docsBounds(s), s.Description})
		}
		list = append(list, d)
	}
	return list
}

// docsType is a type in words.
func docsType(s *huma.Schema) []docsWord {
	switch {
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return []docsWord{{Text: name, Ref: name}}
	case len(s.OneOf) > 0:
		return docsOneOf(s.OneOf)
	case s.Type == huma.TypeArray:
		return append([]docsWord{{Text: "list of "}}, docsType(s.Items)...)
	}
	if value, ok := s.AdditionalProperties.(*huma.Schema); ok {
		return append([]docsWord{{Text: "id → "}}, docsType(value)...)
	}
	if s.Type == "" {
		return []docsWord{{Text: "any"}}
	}
	if s.Nullable {
		return []docsWord{{Text: s.Type + " or null"}}
	}
	return []docsWord{{Text: s.Type}}
}

func docsOneOf(list []*huma.Schema) []docsWord {
	words := docsType(list[0])
	for _, s := range list[1:] {
		words = append(append(words, docsWord{Text: ", "}), docsType(s)...)
	}
	return words
}

// docsBounds are the values that a schema takes, in words.
func docsBounds(s *huma.Schema) string {
	var bounds []string
	add := func(words string, n *float64) {
		if n != nil {
			bounds = append(bounds, words+strconv.FormatFloat(*n, 'f', -1, 64))
		}
	}
	count := func(words string, n *int) {
		if n != nil {
			bounds = append(bounds, words+strconv.Itoa(*n))
		}
	}
	if len(s.Enum) > 0 {
		bounds = append(bounds, strings.Trim(strings.ReplaceAll(fmt.Sprintf("%q", s.Enum), " ", ", "), "[]"))
	}
	add("≥ ", s.Minimum)
	add("≤ ", s.Maximum)
	count("at least ", s.MinItems)
	count("at most ", s.MaxItems)
	if s.Pattern != "" {
		bounds = append(bounds, s.Pattern)
	}
	return strings.Join(bounds, ", ")
}
