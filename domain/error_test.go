package domain_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestRetryableAreTheLastFourCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[domain.Code]bool{
		domain.CodeBadRequest: false, domain.CodeUnauthorized: false, domain.CodeForbidden: false,
		domain.CodeNotMember: false, domain.CodeMuted: false, domain.CodeRejected: false,
		domain.CodeStrangerLimit: false, domain.CodeNotFound: false, domain.CodeConflict: false,
		domain.CodeAlreadyOnline: false, domain.CodeGone: false, domain.CodeTooLarge: false,
		domain.CodeRateLimited: true, domain.CodeOverloaded: true, domain.CodeUnavailable: true, domain.CodeInternal: true,
	} {
		require.Equal(t, want, code.Retryable(), "%s", code)
	}
}

func TestErrorsKeepTheirCauseToThemselves(t *testing.T) {
	t.Parallel()
	err := error(domain.Unavailable(fmt.Errorf("ping: %w", io.EOF), "Redis"))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "unavailable: Redis is not reachable, try again: ping: EOF", err.Error())
	e := domain.AsError(fmt.Errorf("pull: %w", err))
	require.Equal(t, domain.CodeUnavailable, e.Code)
	require.Equal(t, "Redis is not reachable, try again", e.Message)
	require.Equal(t, time.Second, e.RetryAfter)
}

func TestWhatAStoreSaysIsPassedOn(t *testing.T) {
	t.Parallel()
	err := domain.Failed(fmt.Errorf("seed: %w", domain.Full(io.EOF)), "Redis")
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, domain.CodeOverloaded, err.Code)
	require.Equal(t, time.Second, err.RetryAfter)
	require.Equal(t, domain.CodeUnavailable, domain.Failed(io.EOF, "Redis").Code)
	require.Equal(t, domain.CodeUnavailable, domain.Failed(domain.Errorf(domain.CodeNotFound, "x"), "Redis").Code)
}

func TestUnknownErrorsAreInternal(t *testing.T) {
	t.Parallel()
	require.Nil(t, domain.AsError(nil))
	require.Equal(t, domain.Code(""), domain.CodeOf(nil))
	cause := errors.New("secret of the inside")
	e := domain.AsError(cause)
	require.Equal(t, domain.CodeInternal, e.Code)
	require.NotContains(t, e.Message, "secret")
	require.ErrorIs(t, e, cause)
	require.Equal(t, domain.CodeInternal, domain.CodeOf(cause))
}

func TestFieldErrorsNameTheField(t *testing.T) {
	t.Parallel()
	bad, large := domain.BadField("body[0].url", "is required"), domain.TooLarge("mentions", "at most %d users", 50)
	require.Equal(t, domain.Error{Code: domain.CodeBadRequest, Field: "body[0].url", Message: "body[0].url: is required"}, *bad)
	require.Equal(t, domain.Error{Code: domain.CodeTooLarge, Field: "mentions", Message: "mentions: at most 50 users"}, *large)
	require.Equal(t, "bad_request: body[0].url: is required", bad.Error())
}
