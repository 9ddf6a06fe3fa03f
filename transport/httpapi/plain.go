package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
)

// plainRoute is a route beside the API: it takes no part in its checks, and everybody may ask.
type plainRoute struct {
	path, id, tag, summary, description string
	answers                             map[int]string // status → what it means
	media                               string         // of the answers that are no problems; "": they have no body
	schema                              *huma.Schema
}

const (
	selfTag   = "This description"
	healthTag = "Health"
)

// addPlainRoutes describes what this package or the program serves without huma, so that the OpenAPI file has
// every route.
func (a *api) addPlainRoutes() {
	text := &huma.Schema{Type: huma.TypeString}
	for _, rt := range []plainRoute{
		{
			"/v1/openapi.yaml", "getOpenAPI", selfTag, "The OpenAPI file", "",
			map[int]string{200: "OpenAPI 3.1"}, "application/yaml", text,
		},
		{
			"/v1/docs", "getDocs", selfTag, "A page made of the OpenAPI file", "",
			map[int]string{200: "HTML"}, "text/html", text,
		},
		{
			"/healthz", "getHealth", healthTag, "Whether the process is up", "",
			map[int]string{200: "It is."}, "application/json", schemaOf[alive](a.huma.OpenAPI().Components.Schemas),
		},
		{
			"/readyz", "getReadiness", healthTag, "Whether messages can flow, and why not", "For load balancers.",
			map[int]string{200: "They can.", 503: "They cannot; or the instance is leaving."}, "application/json",
			schemaOf[readiness](a.huma.OpenAPI().Components.Schemas),
		},
		{
			"/metrics", "getMetrics", healthTag, "Metrics for Prometheus",
			"Served where `http.internal_addr` says, not where users come; on the one address there is when it is empty.",
			map[int]string{200: "The text format of Prometheus."}, "text/plain", text,
		},
	} {
		a.huma.OpenAPI().AddOperation(rt.operation())
	}
	a.addWebSocket()
}

func (rt plainRoute) operation() *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: rt.path, OperationID: rt.id, Tags: []string{rt.tag},
		Summary: rt.summary, Description: rt.description, Responses: map[string]*huma.Response{},
	}
	for _, status := range slices.Sorted(maps.Keys(rt.answers)) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: rt.answers[status],
			Content:     map[string]*huma.MediaType{rt.media: {Schema: rt.schema}},
		}
	}
	return op
}

// alive is the body of /healthz.
type alive struct {
	OK bool `json:"ok"`
}

// readiness documents the body of /readyz.
type readiness struct {
	Ready    bool             `json:"ready"`
	Degraded bool             `json:"degraded" doc:"It serves, but not everything works as it should."`
	Checks   map[string]check `json:"checks"`
}

type check struct {
	OK     bool   `json:"ok"`
	AgeMS  int64  `json:"age_ms" minimum:"-1" doc:"Since it was last met; -1: never."`
	Detail string `json:"detail"`
}

func (a *api) addWebSocket() {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/ws", OperationID: "openWebSocket", Tags: []string{"WebSocket"},
		Summary: "Connect to the WebSocket",
		Description: "Subprotocol `hearth.v1`. Browsers, which cannot set headers, offer the token as a second subprotocol, " +
			"`hearth.token.<jwt>`. Whatever is wrong is answered before the upgrade; app servers' keys are `unauthorized`.",
		Security:  []map[string][]string{{userScheme: {}}},
		Responses: map[string]*huma.Response{"101": {Description: "Switching to hearth.v1."}},
	}
	a.documentErrors(op,
		domain.CodeBadRequest, domain.CodeUnauthorized, domain.CodeForbidden, domain.CodeAlreadyOnline,
		domain.CodeOverloaded, domain.CodeUnavailable, domain.CodeInternal,
	)
	a.huma.OpenAPI().AddOperation(op)
}
