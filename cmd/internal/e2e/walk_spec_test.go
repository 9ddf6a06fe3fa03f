package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// walkSpec is the OpenAPI file as it is served, held against every request and answer of the walk. Here answers are
// closed: a field that the file does not know is an error, which a client would pass over.
type walkSpec struct {
	doc *openapi3.T

	mu   sync.Mutex                 // guards seen
	seen map[string]map[string]bool // operation → "200", "403 forbidden"
}

func loadWalkSpec(t *testing.T, file []byte) *walkSpec {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(file)
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	if err := doc.Validate(t.Context(), openapi3.DisableExamplesValidation()); err != nil { // httpapi's tests look at them
		t.Fatalf("openapi.yaml: %v", err)
	}
	no := false
	for _, schema := range doc.Components.Schemas {
		if len(schema.Value.Properties) > 0 {
			schema.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
	return &walkSpec{doc: doc, seen: map[string]map[string]bool{}}
}

// route finds the operation of a request; nil when there is none. A word in a template comes before a parameter there.
func (s *walkSpec) route(r *http.Request) (found *routers.Route, params map[string]string) {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for template, item := range s.doc.Paths.Map() {
		values, ok := matchPath(strings.Split(template, "/"), segments)
		op := item.GetOperation(r.Method)
		if !ok || op == nil || found != nil && len(values) > len(params) {
			continue
		}
		found, params = &routers.Route{Spec: s.doc, Path: template, PathItem: item, Method: r.Method, Operation: op}, values
	}
	return found, params
}

func matchPath(template, segments []string) (params map[string]string, ok bool) {
	if len(template) != len(segments) {
		return nil, false
	}
	params = map[string]string{}
	for i, word := range template {
		name, isParam := strings.CutPrefix(word, "{")
		switch {
		case !isParam && word != segments[i], isParam && segments[i] == "":
			return nil, false
		case isParam:
			value, err := url.PathUnescape(segments[i])
			if err != nil {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = value
		}
	}
	return params, true
}

// exchange is a request and its answer.
type exchange struct {
	method, path, contentType string
	body                      []byte // nil for none
	answer                    *answer
}

// input is what the validator is asked about; nil when the file has no such route.
func (s *walkSpec) input(t *testing.T, x exchange) *openapi3filter.RequestValidationInput {
	t.Helper()
	var body io.Reader
	if x.body != nil {
		body = bytes.NewReader(x.body)
	}
	request, err := http.NewRequest(x.method, "http://hearth.test"+x.path, body)
	if err != nil {
		t.Fatal(err)
	}
	if x.body != nil {
		request.Header.Set("Content-Type", x.contentType)
	}
	route, params := s.route(request)
	if route == nil {
		return nil
	}
	return &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
}

// verdict of the validator about a request; it looks at query parameters that the file does not have, too.
func (s *walkSpec) verdict(t *testing.T, x exchange) error {
	t.Helper()
	in := s.input(t, x)
	if in == nil {
		return fmt.Errorf("no such route")
	}
	for name := range in.Request.URL.Query() {
		if in.Route.Operation.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("unknown query parameter %s", name)
		}
	}
	return openapi3filter.ValidateRequest(context.Background(), in)
}

// answered fails unless the file has the answer: status, headers, content type, code and fields.
func (s *walkSpec) answered(t *testing.T, x exchange) {
	t.Helper()
	in := s.input(t, x)
	if in == nil {
		s.answeredNowhere(t, x)
		return
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: x.answer.Status, Header: x.answer.Header, Options: in.Options,
	}
	out.SetBodyBytes(x.answer.Body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		t.Errorf("%s: the OpenAPI file does not know this answer: %v; %d %s", x.answer.what, err, x.answer.Status, x.answer.Body)
	}
	s.saw(in.Route.Operation.OperationID, x.answer)
}

// answeredNowhere is for paths and methods that the file does not have: they are answered in the form of all errors.
func (s *walkSpec) answeredNowhere(t *testing.T, x exchange) {
	t.Helper()
	if x.answer.Status != http.StatusNotFound && x.answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("%s: got %d, and the OpenAPI file has no such route", x.answer.what, x.answer.Status)
	}
	value, err := decodeJSON(x.answer.Body)
	if err != nil {
		t.Errorf("%s: %v; %s", x.answer.what, err, x.answer.Body)
		return
	}
	if err := checkShape(value, "problem"); err != nil {
		t.Errorf("%s: %v; %s", x.answer.what, err, x.answer.Body)
	}
}

func (s *walkSpec) saw(operation string, a *answer) {
	what := fmt.Sprint(a.Status)
	if a.Header.Get("Content-Type") == "application/problem+json" {
		var p problem
		a.ok(a.Status, &p)
		what += " " + p.Code
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[operation] == nil {
		s.seen[operation] = map[string]bool{}
	}
	s.seen[operation][what] = true
}

// documented are all answers that the file tells of: operation, status and, for errors, code.
func (s *walkSpec) documented() map[string][]string {
	all := map[string][]string{}
	for _, item := range s.doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status, response := range op.Responses.Map() {
				p := response.Value.Content["application/problem+json"]
				if p == nil {
					all[op.OperationID] = append(all[op.OperationID], status)
					continue
				}
				for _, code := range p.Schema.Value.AllOf[1].Value.Properties["code"].Value.Enum {
					all[op.OperationID] = append(all[op.OperationID], status+" "+code.(string))
				}
			}
		}
	}
	return all
}

// unseen are the documented answers that the walk did not get, but for those that except, a list of "operation status
// code" with * for any operation, leaves out.
func (s *walkSpec) unseen(except []string) (missing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.documented()
	for _, operation := range slices.Sorted(maps.Keys(all)) {
		for _, what := range all[operation] {
			excepted := slices.Contains(except, "* "+what) || slices.Contains(except, operation+" "+what) || slices.Contains(except, operation+" *")
			if !s.seen[operation][what] && !excepted {
				missing = append(missing, operation+" "+what)
			}
		}
	}
	return missing
}

// walkWrongMethods asks every path for every method that the file does not have there.
func (w *walk) walkWrongMethods(t *testing.T) {
	all := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	for path, item := range w.spec.doc.Paths.Map() {
		if path == "/metrics" || path == "/v1/groups/hot" {
			continue // for operators, on another address; a group of this id, which is reserved
		}
		var allowed []string
		for _, method := range all {
			if item.Operations()[method] != nil {
				allowed = append(allowed, method)
			}
		}
		concrete := strings.NewReplacer("{g}", "somewhere", "{u}", "bob", "{user}", "bob", "{seq}", "1", "{key}", "k", "{name}", "n").Replace(path)
		for _, method := range all {
			if item.Operations()[method] != nil {
				continue
			}
			a := w.call(t, "bob", method, concrete, nil)
			a.refused(http.StatusMethodNotAllowed, badRequest, "")
			if got := strings.Replace(a.Header.Get("Allow"), "HEAD, ", "", 1); got != strings.Join(allowed, ", ") { // HEAD goes with GET
				t.Errorf("%s: Allow: got %s, want %v", a.what, got, allowed)
			}
		}
	}
	for _, path := range []string{"/v1", "/v1/", "/v1/nowhere", "/v2/groups", "/v1/groups/", "/v1/groups/g/nowhere", "/nowhere"} {
		w.call(t, "bob", http.MethodGet, path, nil).refused(http.StatusNotFound, "not_found", "")
	}
}
