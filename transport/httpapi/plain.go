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
	schemas := a.huma.OpenAPI().Components.Schemas
	text := &huma.Schema{Type: huma.TypeString}
	for _, rt := range []plainRoute{
		{
			path: "/v1/openapi.yaml", id: "getOpenAPI", tag: selfTag, summary: "The OpenAPI file",
			answers: map[int]string{200: "OpenAPI 3.1"}, media: "application/yaml", schema: text,
		},
		{
			path: "/v1/docs", id: "getDocs", tag: selfTag, summary: "A page made of the OpenAPI file",
			answers: map[int]string{200: "HTML"}, media: "text/html", schema: text,
		},
		{
			path: "/healthz", id: "getHealth", tag: healthTag, summary: "Whether the process is up",
			answers: map[int]string{200: "It is."}, media: "application/json", schema: schemaOf[alive](schemas),
		},
		{
			path: "/readyz", id: "getReadiness", tag: healthTag, summary: "Whether messages can flow, and why not",
			description: "For load balancers.",
			answers:     map[int]string{200: "They can.", 503: "They cannot; or the instance is leaving."},
			media:       "application/json", schema: schemaOf[readiness](schemas),
		},
		{
			path: "/metrics", id: "getMetrics", tag: healthTag, summary: "Metrics for Prometheus",
			description: "Served where `http.internal_addr` says, not where users come; on the one address there is when it is empty.",
			answers:     map[int]string{200: "The text format of Prometheus."}, media: "text/plain", schema: text,
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
		domain.CodeRateLimited, domain.CodeOverloaded, domain.CodeUnavailable, domain.CodeInternal,
	)
	a.huma.OpenAPI().AddOperation(op)
}
