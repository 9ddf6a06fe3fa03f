package httpapi

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
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

type specFile struct {
	OpenAPI string `yaml:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string                    `yaml:"operationId"`
		Summary     string                    `yaml:"summary"`
		Security    []map[string]any          `yaml:"security"`
		Tags        []string                  `yaml:"tags"`
		Responses   map[string]map[string]any `yaml:"responses"`
		RequestBody struct {
			Required bool `yaml:"required"`
		} `yaml:"requestBody"`
	} `yaml:"paths"`
	Components struct {
		Schemas         map[string]map[string]any `yaml:"schemas"`
		SecuritySchemes map[string]any            `yaml:"securitySchemes"`
	} `yaml:"components"`
}

func TestOpenAPIFileHasEveryRoute(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	r := s.do(t, "", "GET", "/v1/openapi.yaml", "").want(t, 200)
	require.Equal(t, "application/yaml", r.Header.Get("Content-Type"))
	var spec specFile
	require.NoError(t, yaml.Unmarshal([]byte(r.body), &spec))
	require.Equal(t, "3.1.0", spec.OpenAPI)
	routes := map[string][]string{
		"/v1/groups":                    {"get", "post"},
		"/v1/groups/{g}":                {"delete", "get", "patch"},
		"/v1/groups/hot":                {"get"},
		"/v1/groups/{g}/join":           {"post"},
		"/v1/groups/{g}/leave":          {"post"},
		"/v1/groups/{g}/members":        {"get", "post"},
		"/v1/groups/{g}/members/{u}":    {"delete", "patch"},
		"/v1/groups/{g}/blocked/{u}":    {"delete", "put"},
		"/v1/groups/{g}/messages":       {"get", "post"},
		"/v1/groups/{g}/messages/{seq}": {"delete", "get"},
		"/v1/groups/{g}/read":           {"post"},
		"/v1/groups/{g}/readers":        {"get"},
		"/v1/groups/{g}/signals":        {"post"},
		"/v1/direct/{user}/messages":    {"post"},
		"/v1/presence":                  {"get"},
		"/v1/users/{u}/connections":     {"delete"},
		"/v1/sync":                      {"post"},
		"/v1/uploads":                   {"post"},
		"/v1/uploads/{key}/{name}":      {"get", "put"},
	}
	require.Len(t, spec.Paths, len(routes))
	for path, methods := range routes {
		require.Len(t, spec.Paths[path], len(methods), path)
		for _, method := range methods {
			op := spec.Paths[path][method]
			require.NotEmpty(t, op.Summary, path)
			require.NotEmpty(t, op.Tags, path)
			expected := []string{"400", "401", "500", "503"}
			if path == "/v1/uploads/{key}/{name}" { // its URLs are known to those alone who may
				require.Empty(t, op.Security)
				expected = []string{"404", "500", "503"}
			} else {
				require.Len(t, op.Security, 2, path)
			}
			for _, status := range expected {
				require.Contains(t, op.Responses, status, path)
			}
			require.NotContains(t, op.Responses, "422", path)
			require.NotContains(t, op.Responses, "default", path)
		}
	}
	send := spec.Paths["/v1/groups/{g}/messages"]["post"]
	for _, status := range []string{"200", "201", "403", "404", "409", "410", "413", "429"} {
		require.Contains(t, send.Responses, status)
	}
	require.True(t, send.RequestBody.Required)
	require.False(t, spec.Paths["/v1/groups/{g}/join"]["post"].RequestBody.Required)
	require.NotContains(t, spec.Components.Schemas, "ErrorModel")
	require.Contains(t, spec.Components.Schemas, "Problem")
	closed := 0
	for name, schema := range spec.Components.Schemas {
		if _, ok := schema["additionalProperties"]; ok {
			closed++
			require.Contains(t, []string{"GroupChanges", "MemberChanges", "NewGroup", "NewMembers", "NewMessage", "NewMark", "NewSignal", "NewUpload", "SyncBody", "Who"}, name)
		}
	}
	require.Equal(t, 10, closed, "requests refuse unknown fields, answers may grow")
	require.Len(t, spec.Components.SecuritySchemes, 2)
	for _, ref := range strings.Split(r.body, "#/components/schemas/")[1:] {
		name, _, _ := strings.Cut(ref, "\n")
		require.Contains(t, spec.Components.Schemas, strings.Trim(name, `"' `))
	}
}

func TestDocsPageIsOneFileWithEveryOperation(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	r := s.do(t, "", "GET", "/v1/docs", "").want(t, 200)
	require.Contains(t, r.Header.Get("Content-Type"), "text/html")
	require.Equal(t, 28, strings.Count(r.body, "<h2 id="))
	for _, outside := range []string{"http://", "https://", "<script", "src="} {
		require.NotContains(t, r.body, outside)
	}
	require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'none'")
	s.do(t, "", http.MethodPost, "/v1/docs", "").want(t, 405)
}
