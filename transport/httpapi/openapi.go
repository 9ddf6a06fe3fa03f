package httpapi

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
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
					"application/problem+json with the codes of the WebSocket protocol.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
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

//go:embed docs.html
var docsPage string

// serveSpecification serves the OpenAPI file and a page made of it, both built here once.
func (a *api) serveSpecification(r chi.Router) error {
	tidySchemas(a.huma.OpenAPI())
	file, err := a.huma.OpenAPI().YAML()
	if err != nil {
		return fmt.Errorf("httpapi: OpenAPI file: %w", err)
	}
	var page bytes.Buffer
	if err := template.Must(template.New("docs").Parse(docsPage)).Execute(&page, documented(a.huma.OpenAPI())); err != nil {
		return fmt.Errorf("httpapi: docs page: %w", err)
	}
	r.Get("/v1/openapi.yaml", serveBytes("application/yaml", file))
	r.Get("/v1/docs", serveBytes("text/html; charset=utf-8", page.Bytes()))
	return nil
}

// tidySchemas takes out huma's own errors, which are never sent, and lets answers grow: only in requests are
// unknown fields refused.
func tidySchemas(spec *huma.OpenAPI) {
	schemas := spec.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	requests := map[*huma.Schema]bool{}
	for _, item := range spec.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Patch} {
			if op != nil && op.RequestBody != nil {
				ref := op.RequestBody.Content["application/json"].Schema.Ref
				requests[spec.Components.Schemas.SchemaFromRef(ref)] = true
			}
		}
	}
	for _, schema := range schemas {
		if !requests[schema] {
			schema.AdditionalProperties = nil
		}
	}
}

func serveBytes(contentType string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		_, _ = w.Write(content) // the client may be gone
	}
}

// documentedRoute is a line of the docs page.
type documentedRoute struct {
	Tag, Method, Path string
	*huma.Operation
	Answers []documentedAnswer
}

type documentedAnswer struct{ Status, Description string }

// documented lists all operations: by tag, then by path, then by method.
func documented(spec *huma.OpenAPI) []documentedRoute {
	var routes []documentedRoute
	for path, item := range spec.Paths {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete,
		} {
			if op != nil {
				routes = append(routes, documentedRoute{op.Tags[0], method, path, op, answersOf(op)})
			}
		}
	}
	slices.SortFunc(routes, func(a, b documentedRoute) int {
		return strings.Compare(a.Tag+a.Path+a.Method, b.Tag+b.Path+b.Method)
	})
	return routes
}

func answersOf(op *huma.Operation) []documentedAnswer {
	var answers []documentedAnswer
	for status, response := range op.Responses {
		answers = append(answers, documentedAnswer{status, response.Description})
	}
	slices.SortFunc(answers, func(a, b documentedAnswer) int { return strings.Compare(a.Status, b.Status) })
	return answers
}
