package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
)

const (
	userScheme   = "user"
	serverScheme = "appServer"
)

// specification is the frame of the OpenAPI file and how huma is to behave. No schema links, no routes of
// huma's own: its handlers for the file race on their first request.
func specification() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "hearth",
				Version: "1",
				Description: "Group chat over HTTP. Users and app servers use the same routes; an app server may act for " +
					"anyone. Times are milliseconds, unknown fields and parameters are refused, errors are " +
					"application/problem+json with the codes of the WebSocket protocol. An unknown path answers 404 " +
					"`not_found`, another method than those of a path 405 `bad_request`, in the same form.",
			},
			Components: &huma.Components{
				Examples:  map[string]*huma.Example{},
				Responses: map[string]*huma.Response{},
				Schemas:   huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					userScheme: {
						Type: "http", Scheme: "bearer", BearerFormat: "JWT",
						Description: "A user's token, HS256: sub is the user's id, exp is required.",
					},
					serverScheme: {
						Type: "http", Scheme: "bearer",
						Description: "An app server's API key.",
					},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	}
}

// serveSpecification serves the OpenAPI file and a page made of it, both built here once.
func (a *api) serveSpecification(r chi.Router) error {
	if err := a.completeSpecification(); err != nil {
		return err
	}
	page, policy, err := docsOf(a.huma.OpenAPI())
	if err != nil {
		return err
	}
	shareProblems(a.huma.OpenAPI())
	file, err := a.huma.OpenAPI().YAML()
	if err != nil {
		return fmt.Errorf("httpapi: OpenAPI file: %w", err)
	}
	r.Get("/v1/openapi.yaml", serveBytes("application/yaml", nothingLoaded, file))
	r.Get("/v1/docs", serveBytes("text/html; charset=utf-8", policy, page))
	return nil
}

// completeSpecification adds what the Go types do not tell.
func (a *api) completeSpecification() error {
	spec := a.huma.OpenAPI()
	a.addPlainRoutes()
	tidySchemas(spec)
	describeParameters(spec)
	return addExamples(spec)
}

// tidySchemas takes out huma's own errors, which are never sent, and lets answers grow: only in requests are
// unknown fields refused.
func tidySchemas(spec *huma.OpenAPI) {
	schemas := spec.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	requests := map[*huma.Schema]bool{}
	for _, op := range operations(spec) {
		if body := jsonBody(op); body != nil {
			requests[spec.Components.Schemas.SchemaFromRef(body.Schema.Ref)] = true
		}
	}
	for _, schema := range schemas {
		if !requests[schema] {
			schema.AdditionalProperties = nil
		}
	}
	for _, name := range []string{"Problem", "Failure"} {
		schemas[name].Properties["code"].Enum = allCodes()
	}
}

// jsonBody is what an operation takes; nil where that is nothing, or bytes.
func jsonBody(op *huma.Operation) *huma.MediaType {
	if op.RequestBody == nil {
		return nil
	}
	return op.RequestBody.Content["application/json"]
}

// operations are all of a document, by path and method.
func operations(spec *huma.OpenAPI) []*huma.Operation {
	var list []*huma.Operation
	for path, item := range spec.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				op.Path, op.Method = path, method
				list = append(list, op)
			}
		}
	}
	slices.SortFunc(list, func(a, b *huma.Operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return list
}

// nothingLoaded is the policy for what is no page.
const nothingLoaded = "default-src 'none'; frame-ancestors 'none'"

func serveBytes(contentType, policy string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(content) // the client may be gone
	}
}
