package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hearth/domain"
)

// statusOf is the one table from codes to HTTP.
var statusOf = map[domain.Code]int{
	domain.CodeBadRequest:    http.StatusBadRequest,
	domain.CodeUnauthorized:  http.StatusUnauthorized,
	domain.CodeForbidden:     http.StatusForbidden,
	domain.CodeNotMember:     http.StatusForbidden,
	domain.CodeMuted:         http.StatusForbidden,
	domain.CodeRejected:      http.StatusForbidden,
	domain.CodeStrangerLimit: http.StatusForbidden,
	domain.CodeNotFound:      http.StatusNotFound,
	domain.CodeConflict:      http.StatusConflict,
	domain.CodeAlreadyOnline: http.StatusConflict,
	domain.CodeGone:          http.StatusGone,
	domain.CodeTooLarge:      http.StatusRequestEntityTooLarge,
	domain.CodeRateLimited:   http.StatusTooManyRequests,
	domain.CodeOverloaded:    http.StatusServiceUnavailable,
	domain.CodeUnavailable:   http.StatusServiceUnavailable,
	domain.CodeInternal:      http.StatusInternalServerError,
}

// problem is an error answer (RFC 9457). huma takes it from handlers as it is: it is an error with a status,
// headers and a content type.
type problem struct {
	Type         string         `json:"type" example:"about:blank" doc:"Always about:blank: code tells the kind."`
	Title        string         `json:"title" doc:"The status in words."`
	Status       int            `json:"status"`
	Detail       string         `json:"detail" doc:"What is wrong, for people. Never repeats values that were sent."`
	Code         domain.Code    `json:"code" doc:"What is wrong, for programs; the same codes as on the WebSocket."`
	Retryable    bool           `json:"retryable" doc:"Whether the same request, with the same client_id, may be sent again."`
	RetryAfterMS int64          `json:"retry_after_ms,omitempty" doc:"When to do so."`
	Errors       []fieldProblem `json:"errors,omitempty" nullable:"false"`
	headers      http.Header
}

type fieldProblem struct {
	Location string `json:"location" example:"body[0].url" doc:"The field or parameter."`
	Message  string `json:"message"`
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.headers }
func (p *problem) ContentType(string) string { return "application/problem+json" }

// statusError is a domain error under another status than its code's own.
type statusError struct {
	status int
	err    *domain.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func withStatus(status int, err *domain.Error) error { return &statusError{status, err} }

func problemOf(err error) *problem {
	e := domain.AsError(err)
	status := statusOf[e.Code]
	var other *statusError
	if errors.As(err, &other) {
		status = other.status
	}
	p := &problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message,
		Code: e.Code, Retryable: e.Code.Retryable(), headers: http.Header{},
	}
	if e.RetryAfter > 0 {
		p.RetryAfterMS = max(1, e.RetryAfter.Milliseconds())
	}
	if e.Field != "" {
		p.Errors = []fieldProblem{{Location: e.Field, Message: e.Message}}
	}
	switch status {
	case http.StatusUnauthorized:
		p.headers.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		p.headers.Set("Retry-After", strconv.Itoa(max(1, int(seconds))))
	}
	return p
}

// WriteError answers with an error as problem+json, outside of huma and for handlers beside this API.
func WriteError(w http.ResponseWriter, err error) {
	p := problemOf(err)
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// fail makes an error a handler's answer, and logs the causes that the caller is not told.
func (a *api) fail(ctx context.Context, err error) *problem {
	a.logFailure(ctx, err)
	return problemOf(err)
}

func (a *api) logFailure(ctx context.Context, err error) {
	switch e := domain.AsError(err); {
	case ctx.Err() != nil: // the client went away; whatever failed, failed for that
	case e.Code == domain.CodeInternal:
		a.Log.Error().Err(err).Msg("http request failed")
	case e.Code == domain.CodeUnavailable:
		a.Log.Warn().Err(err).Msg("http request failed")
	}
}
