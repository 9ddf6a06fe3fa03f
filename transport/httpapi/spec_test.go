package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// scrape is the counters and histograms' counts of a registry, one a line.
func scrape(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	var lines []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name, value := family.GetName(), m.GetCounter().GetValue()
			if m.GetHistogram() != nil {
				name, value = name+"_count", float64(m.GetHistogram().GetSampleCount())
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %v", name, strings.Join(labels, ","), value))
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// document is the served OpenAPI file, read by a library that knows the standard.
func (s *server) document(t *testing.T) *openapi3.T {
	t.Helper()
	r := s.do(t, "", "GET", "/v1/openapi.yaml", "").want(t, 200)
	require.Equal(t, "application/yaml", r.Header.Get("Content-Type"))
	doc, err := openapi3.NewLoader().LoadFromData([]byte(r.body))
	require.NoError(t, err)
	return doc
}

func TestOpenAPIFileIsSoundWithItsExamples(t *testing.T) {
	t.Parallel()
	doc := newServer(t, nil).document(t)
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableMultiError()))
	wrong := doc.Paths.Value("/v1/sync").Post.RequestBody.Value.Content["application/json"]
	require.NoError(t, wrong.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()))
	wrong.Example = map[string]any{"limit": 0.0}
	require.Error(t, wrong.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()), "examples are looked at")
}

// servedBeside are routes of the file that the program serves, not this router.
var servedBeside = []string{"GET /v1/ws", "GET /healthz", "GET /readyz", "GET /metrics"}

func TestOpenAPIFileAndRouterHaveTheSameRoutes(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	served := slices.Clone(servedBeside)
	require.NoError(t, chi.Walk(s.handler.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if method != http.MethodHead { // goes with its GET
			served = append(served, method+" "+path)
		}
		return nil
	}))
	var documented []string
	for path, item := range s.document(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	require.ElementsMatch(t, served, documented)
}

func TestOpenAPIFileTellsEverythingOfARoute(t *testing.T) {
	t.Parallel()
	doc := newServer(t, nil).document(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			require.NotEmpty(t, op.OperationID, path)
			require.NotEmpty(t, op.Summary, path)
			require.NotEmpty(t, op.Tags, path)
			for _, p := range op.Parameters {
				require.NotEmpty(t, p.Value.Description, "%s %s: %s", method, path, p.Value.Name)
			}
			if op.Security == nil {
				continue // a plain route
			}
			require.NotContains(t, op.Responses.Map(), "422", path)
			require.NotContains(t, op.Responses.Map(), "default", path)
			statuses := []int{500, 503}
			if len(*op.Security) > 0 { // an upload's URL is known to those alone who may
				statuses = append(statuses, 400, 401)
			}
			for _, status := range statuses {
				require.NotNil(t, op.Responses.Status(status), path)
			}
			for status, response := range op.Responses.Map() {
				tellsEverythingOfAnAnswer(t, op.OperationID+" "+status, response.Value)
			}
			if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil {
				require.NotNil(t, op.RequestBody.Value.Content["application/json"].Example, "%s: no example of a request", op.OperationID)
			}
		}
	}
	send := doc.Paths.Value("/v1/groups/{g}/messages").Post
	for _, status := range []int{200, 201, 403, 404, 409, 410, 413, 429} {
		require.NotNil(t, send.Responses.Status(status))
	}
	require.True(t, send.RequestBody.Value.Required)
	require.False(t, doc.Paths.Value("/v1/groups/{g}/join").Post.RequestBody.Value.Required)
	require.NotContains(t, doc.Components.Schemas, "ErrorModel")
	require.Len(t, doc.Components.SecuritySchemes, 2)
}

// tellsEverythingOfAnAnswer: an object has an example, a problem its codes with an example each.
func tellsEverythingOfAnAnswer(t *testing.T, what string, r *openapi3.Response) {
	t.Helper()
	require.NotEmpty(t, r.Description, what)
	if body := r.Content["application/json"]; body != nil {
		require.NotNil(t, body.Example, "%s: no example of an answer", what)
	}
	p := r.Content["application/problem+json"]
	if p == nil {
		return
	}
	codes := p.Schema.Value.AllOf[1].Value.Properties["code"].Value.Enum
	require.NotEmpty(t, codes, what)
	for _, code := range codes {
		require.NotNil(t, p.Examples[code.(string)], what)
	}
	if strings.HasSuffix(what, " 429") || strings.HasSuffix(what, " 503") {
		require.True(t, r.Headers["Retry-After"].Value.Required, what)
	}
}

func TestOnlyRequestsAreClosed(t *testing.T) {
	t.Parallel()
	doc := newServer(t, nil).document(t)
	requests := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			if body := op.RequestBody.Value.Content["application/json"]; body != nil {
				requests[body.Schema.Ref] = true
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		has := schema.Value.AdditionalProperties.Has
		closed := has != nil && !*has
		require.Equal(t, requests["#/components/schemas/"+name], closed, "%s: requests refuse unknown fields, answers may grow", name)
	}
}

func TestEveryExampleHasItsOperation(t *testing.T) {
	t.Parallel()
	doc := newServer(t, nil).document(t)
	ids := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			ids[op.OperationID] = true
		}
	}
	for id := range examples {
		require.Contains(t, ids, id)
	}
	require.Len(t, exampleDetails, len(statusOf))
}

func TestDocsPageIsOneFileWithEverything(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	r := s.do(t, "", "GET", "/v1/docs", "").want(t, 200)
	require.Contains(t, r.Header.Get("Content-Type"), "text/html")
	doc := s.document(t)
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			require.Contains(t, r.body, `<article id="`+op.OperationID+`">`)
			require.Contains(t, r.body, `<a href="#`+op.OperationID+`">`)
		}
	}
	for name := range doc.Components.Schemas {
		require.Contains(t, r.body, `<article id="schema-`+name+`">`)
	}
	for _, link := range strings.Split(r.body, `href="#`)[1:] {
		id, _, _ := strings.Cut(link, `"`)
		require.Contains(t, r.body, `<article id="`+id+`">`, "links lead somewhere")
	}
	for _, outside := range []string{"<script", "src=", "@import", "url(", " style="} {
		require.NotContains(t, r.body, outside)
	}
	policy := r.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'; style-src 'sha256-")
	require.NotContains(t, policy, "unsafe")
	s.do(t, "", http.MethodPost, "/v1/docs", "").want(t, 405)
}
