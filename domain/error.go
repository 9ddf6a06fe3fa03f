package domain

import (
	"errors"
	"fmt"
	"time"
)

// Code is the kind of a failure, as the protocol names it. Doors map it to HTTP statuses and frames.
type Code string

// The codes of PROTOCOL.md §4.
const (
	CodeBadRequest    Code = "bad_request"
	CodeUnauthorized  Code = "unauthorized"
	CodeForbidden     Code = "forbidden"
	CodeNotMember     Code = "not_member"
	CodeMuted         Code = "muted"
	CodeRejected      Code = "rejected"
	CodeStrangerLimit Code = "stranger_limit"
	CodeNotFound      Code = "not_found"
	CodeConflict      Code = "conflict"
	CodeAlreadyOnline Code = "already_online"
	CodeGone          Code = "gone"
	CodeTooLarge      Code = "too_large"
	CodeRateLimited   Code = "rate_limited"
	CodeOverloaded    Code = "overloaded"
	CodeUnavailable   Code = "unavailable"
	CodeInternal      Code = "internal"
)

// Retryable reports whether the same request, with the same client_id, may be sent again.
func (c Code) Retryable() bool {
	switch c {
	case CodeRateLimited, CodeOverloaded, CodeUnavailable, CodeInternal:
		return true
	}
	return false
}

// Error is the one error type of hearth. Message is safe to show to the caller: it names the field, never a
// value that was sent, nor anything of the inside. The cause is for the log.
type Error struct {
	Code       Code
	Message    string
	Field      string        // where in the request, e.g. "body[0].url"; empty when it is not about a field
	RetryAfter time.Duration // 0: no advice
	Err        error         // cause; may be nil
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// BadField is a bad_request about one field; the message starts with the field's name.
func BadField(field, format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// TooLarge is a too_large about one field; the message starts with the field's name.
func TooLarge(field, format string, args ...any) *Error {
	return &Error{Code: CodeTooLarge, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// Unavailable wraps a failure of Redis or MySQL after which the outcome may be unknown.
func Unavailable(err error, what string) *Error {
	return &Error{Code: CodeUnavailable, Message: what + " is not reachable, try again", RetryAfter: time.Second, Err: err}
}

// Failed is Unavailable for a failure of a store, unless the store has said more: that it is overloaded, and has done
// nothing.
func Failed(err error, what string) *Error {
	var e *Error
	if errors.As(err, &e) && e.Code == CodeOverloaded {
		return &Error{Code: e.Code, Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	}
	return Unavailable(err, what)
}

// Full refuses what would need memory that Redis has not got. The cause may be nil.
func Full(err error) *Error {
	return &Error{Code: CodeOverloaded, Message: "the message store is full", RetryAfter: time.Second, Err: err}
}

// AsError finds the Error in err's chain; any other error becomes internal with err as its cause. nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "something went wrong here, try again", Err: err}
}

// CodeOf is AsError(err).Code, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
