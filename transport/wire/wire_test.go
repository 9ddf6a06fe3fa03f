package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// requireCode fails unless err is a domain error with this code about this field.
func requireCode(t testing.TB, err error, code domain.Code, field string) {
	t.Helper()
	require.Error(t, err)
	var e *domain.Error
	require.True(t, errors.As(err, &e), "got %T %v, want a domain error", err, err)
	require.Equal(t, code, e.Code, "code of %v", err)
	require.Equal(t, field, e.Field, "field of %v", err)
	if field != "" {
		require.True(t, strings.HasPrefix(e.Message, field+": "), "%q names %s", e.Message, field)
	}
}

// timeOf is when the message with this seq was accepted.
func timeOf(seq int64) int64 { return 1_700_000_000_000 + seq*1000 }

func message(seq int64, change func(*domain.Message)) domain.Record {
	m := domain.Message{
		Group: "team", Seq: seq, TimeMS: timeOf(seq),
		Header: domain.Header{From: "ann"},
		Body:   []byte(`[{"type":"text","text":"hi"}]`),
	}
	if change != nil {
		change(&m)
	}
	return m.Record()
}

func ptr[T any](v T) *T { return &v }
