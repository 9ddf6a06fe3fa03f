package domain_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireCode fails unless err is a domain error with this code about this field.
func requireCode(t testing.TB, err error, code domain.Code, field string) {
	t.Helper()
	require.Error(t, err)
	var e *domain.Error
	require.True(t, errors.As(err, &e), "got %T %v, want a domain error", err, err)
	require.Equal(t, code, e.Code, "code of %v", err)
	require.Equal(t, field, e.Field, "field of %v", err)
}

func ptr(n int64) *int64 { return &n }
