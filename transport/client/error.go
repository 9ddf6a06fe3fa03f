package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is the server's answer to a request that it did not do. Code is one of the protocol's error codes.
type Error struct {
	Code       string
	Message    string
	Retryable  bool          // the same request, with the same client_id, may be sent again
	RetryAfter time.Duration // 0: no advice
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// UnmarshalJSON reads the object that error replies carry.
func (e *Error) UnmarshalJSON(data []byte) error {
	var wire struct {
		Code         string `json:"code"`
		Message      string `json:"message"`
		Retryable    bool   `json:"retryable"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*e = Error{wire.Code, wire.Message, wire.Retryable, milliseconds(wire.RetryAfterMS)}
	return nil
}

// EndedError is why Run gave up: the server said that this client must not come back.
type EndedError struct {
	Code   int // close code from 4500 to 4999, or HTTP status 401, 403 or, before the first welcome, 409
	Reason string
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("the server does not want this client back: %d %s", e.Code, e.Reason)
}

// ErrStopped answers requests after the end of Run.
var ErrStopped = errors.New("the client has stopped")

// What requests are answered with when the server does not. The request may have been done.
var (
	errLost     = &Error{Code: "unavailable", Message: "the connection was lost before the answer", Retryable: true}
	errNoAnswer = &Error{Code: "unavailable", Message: "no answer within " + answerTimeout.String(), Retryable: true}
)

// retryable finds the Error in err's chain when its request may be sent again.
func retryable(err error) (*Error, bool) {
	var refused *Error
	ok := errors.As(err, &refused) && refused.Retryable
	return refused, ok
}

// stopped is ctx's error, with what went wrong last.
func stopped(ctx context.Context, last error) error {
	return fmt.Errorf("%w (before that: %w)", ctx.Err(), last)
}
