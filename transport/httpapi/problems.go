package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
)

// exampleDetails are what errors may say: an example for each code.
var exampleDetails = map[domain.Code]string{
	domain.CodeBadRequest:    "body[0].url: is required",
	domain.CodeUnauthorized:  "the token is not good",
	domain.CodeForbidden:     "your role does not allow this",
	domain.CodeNotMember:     "you are not a member of this group",
	domain.CodeMuted:         "you are muted in this group",
	domain.CodeRejected:      "the message was rejected",
	domain.CodeStrangerLimit: "wait until the other side writes",
	domain.CodeNotFound:      "there is no such group",
	domain.CodeConflict:      "first the owner hands the group over",
	domain.CodeAlreadyOnline: "the user is connected already",
	domain.CodeGone:          "the group was dismissed",
	domain.CodeTooLarge:      "name: at most 256 bytes",
	domain.CodeRateLimited:   "too many messages, wait a moment",
	domain.CodeOverloaded:    "too much is waiting to be stored, wait a moment",
	domain.CodeUnavailable:   "Redis does not answer",
	domain.CodeInternal:      "something went wrong here, try again",
}

// allCodes is the enum of codes, sorted.
func allCodes() []any {
	names := make([]string, 0, len(statusOf))
	for code := range statusOf {
		names = append(names, string(code))
	}
	slices.Sort(names)
	enum := make([]any, len(names))
	for i, name := range names {
		enum[i] = name
	}
	return enum
}

// documentErrors lets an operation answer with these codes, each under its own status.
func (a *api) documentErrors(op *huma.Operation, codes ...domain.Code) {
	for _, code := range codes {
		a.documentProblem(op, statusOf[code], code)
	}
}

// documentProblem lets an operation answer with a code under a status: a problem whose code is one of those named.
func (a *api) documentProblem(op *huma.Operation, status int, code domain.Code) {
	response := op.Responses[strconv.Itoa(status)]
	if response == nil {
		response = a.problemResponse(status)
		op.Responses[strconv.Itoa(status)] = response
	}
	a.addCode(response, status, code)
}

func (a *api) problemResponse(status int) *huma.Response {
	return &huma.Response{
		Headers: problemHeaders(status),
		Content: map[string]*huma.MediaType{
			"application/problem+json": {
				Schema: &huma.Schema{AllOf: []*huma.Schema{
					schemaOf[problem](a.huma.OpenAPI().Components.Schemas),
					{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
						"code":   {Type: huma.TypeString},
						"status": {Type: huma.TypeInteger, Enum: []any{status}},
					}},
				}},
				Examples: map[string]*huma.Example{},
			},
		},
	}
}

// addCode names a code in the schema, the description and the examples of a problem.
func (a *api) addCode(response *huma.Response, status int, code domain.Code) {
	content := response.Content["application/problem+json"]
	if content.Examples[string(code)] != nil {
		return
	}
	codes := content.Schema.AllOf[1].Properties["code"]
	codes.Enum = append(codes.Enum, string(code))
	if response.Description != "" {
		response.Description += ", "
	}
	response.Description += string(code)
	content.Examples[string(code)] = &huma.Example{Ref: "#/components/examples/" + a.problemExample(status, code)}
}

// problemExample is the name of an example that operations share; it is made when it is first asked for.
func (a *api) problemExample(status int, code domain.Code) string {
	name := string(code)
	if status != statusOf[code] {
		name += "_" + strconv.Itoa(status)
	}
	examples := a.huma.OpenAPI().Components.Examples
	if examples[name] == nil {
		err := &domain.Error{Code: code, Message: exampleDetails[code]}
		examples[name] = &huma.Example{Summary: http.StatusText(status), Value: problemOf(withStatus(status, err))}
	}
	return name
}

func problemHeaders(status int) map[string]*huma.Param {
	text := func(doc string) *huma.Param {
		return &huma.Param{Description: doc, Required: true, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	switch status {
	case http.StatusUnauthorized:
		return map[string]*huma.Param{"WWW-Authenticate": text("Bearer")}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return map[string]*huma.Param{"Retry-After": text("Seconds.")}
	case http.StatusMethodNotAllowed:
		return map[string]*huma.Param{"Allow": text("The methods that this path takes.")}
	}
	return nil
}

// shareProblems puts answers that look alike into the components, once: written out at every route they would be
// three quarters of the file.
func shareProblems(spec *huma.OpenAPI) {
	for _, op := range operations(spec) {
		for status, response := range op.Responses {
			content := response.Content["application/problem+json"]
			if content == nil {
				continue
			}
			name := strings.Join(append([]string{status}, slices.Sorted(maps.Keys(content.Examples))...), "_")
			spec.Components.Responses[name] = response
			op.Responses[status] = &huma.Response{Ref: "#/components/responses/" + name}
		}
	}
}
