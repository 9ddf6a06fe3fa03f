package redisrepo

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestReadMarksAboveASeqAreFoundInAllPages(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		marks, want := make(map[domain.GroupUser]int64), make(map[string]int64)
		for i := range int64(2*marksPage + 1) {
			user := fmt.Sprint("u", i)
			marks[domain.GroupUser{Group: "a", User: user}] = i
			if i >= 42 {
				want[user] = i
			}
		}
		marks[domain.GroupUser{Group: "b", User: "other"}] = 100
		require.NoError(t, e.store.FillReads(t.Context(), marks))
		got, err := e.store.ReadMarksAbove(t.Context(), "a", 42)
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = e.store.ReadMarksAbove(t.Context(), "nobody has read here", 1)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}
