package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
	"hearth/transport/wire"
)

// route is what the OpenAPI file says of an operation, beside its types.
type route struct {
	method, path string
	id, tag      string
	summary      string
	description  string
	status       int           // of success; 0: 200 with a body, 204 without
	optionalBody bool          // an empty body counts as {}
	errors       []domain.Code // beside those that every route has
}

// register adds an operation. handle gets a body that decoded strictly; its errors become problems.
func register[I, O any](a *api, rt route, handle func(context.Context, *I) (*O, error)) {
	op := a.operation(rt)
	if _, ok := reflect.TypeFor[I]().FieldByName("Body"); ok {
		op.RequestBody = &huma.RequestBody{}
		a.documentErrors(&op, domain.CodeTooLarge)
		a.documentProblem(&op, http.StatusRequestTimeout, domain.CodeBadRequest)
		a.documentProblem(&op, http.StatusUnsupportedMediaType, domain.CodeBadRequest)
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if b, ok := any(in).(interface{ bodyError() error }); ok {
			if err := b.bodyError(); err != nil {
				return nil, a.fail(ctx, err)
			}
		}
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		return out, nil
	})
	if rt.optionalBody {
		op.RequestBody.Required = false
	}
}

// everyRoute may answer with these.
var everyRoute = []domain.Code{
	domain.CodeBadRequest, domain.CodeUnauthorized, domain.CodeUnavailable, domain.CodeInternal,
	domain.CodeRateLimited, // by the address
}

func (a *api) operation(rt route) huma.Operation {
	op := huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: rt.id, Tags: []string{rt.tag},
		Summary: rt.summary, Description: rt.description, DefaultStatus: rt.status,
		Security:           []map[string][]string{{userScheme: {}}, {serverScheme: {}}},
		SkipValidateParams: true,
		SkipValidateBody:   true,
		MaxBodyBytes:       -1, // strict has read it
		BodyReadTimeout:    -1,
		Responses:          map[string]*huma.Response{},
	}
	a.documentErrors(&op, slices.Concat(everyRoute, rt.errors)...)
	return op
}

// withBody is embedded by the inputs of operations that take a body of type T.
type withBody[T any] struct{ Body strict[T] }

func (w *withBody[T]) bodyError() error { return w.Body.err }
func (w *withBody[T]) body() *T         { return &w.Body.value }

// strict is a T that wire.Decode reads. huma would flatten the error to a string, so it is kept here.
type strict[T any] struct {
	value T
	err   error
}

func (s *strict[T]) decode(data []byte) {
	if s.err = wire.Decode(data, &s.value); s.err == nil {
		return
	}
	if e := domain.AsError(s.err); e.Field == "" {
		s.err = domain.Errorf(e.Code, "the body %s", e.Message)
	}
}

// Schema makes the OpenAPI file show the T.
func (*strict[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

// rawJSON is an answer that is already encoded, in the form of a T.
type rawJSON[T any] []byte

func (j rawJSON[T]) encoded() []byte { return j }

// Schema makes the OpenAPI file show the T.
func (rawJSON[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

func schemaOf[T any](r huma.Registry) *huma.Schema { return r.Schema(reflect.TypeFor[T](), true, "") }

// format is how huma reads and writes bodies here.
var format = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		if raw, ok := v.(interface{ encoded() []byte }); ok {
			_, err := w.Write(raw.encoded())
			return err
		}
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	},
	Unmarshal: func(data []byte, v any) error {
		v.(interface{ decode(data []byte) }).decode(data)
		return nil
	},
}

// created answers 201 with the object and where it is.
type created[T any] struct {
	Status   int
	Location string `header:"Location"`
	Body     T
}

// answer is 200 with the object.
type answer[T any] struct{ Body T }

// none is 204.
type none struct{}

func noContent(err error) (*none, error) {
	if err != nil {
		return nil, err
	}
	return &none{}, nil
}

func answerOf[T any](body T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{Body: body}, nil
}
