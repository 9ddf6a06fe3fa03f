package redisrepo

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func (e *env) above(t *testing.T, group string, seq int64) map[string]int64 {
	t.Helper()
	marks, err := e.store.ReadMarksAbove(t.Context(), group, seq)
	require.NoError(t, err)
	return marks
}

func (e *env) markRead(t *testing.T, group, user string, seq int64) {
	t.Helper()
	_, err := e.store.MarkRead(t.Context(), group, user, seq, 0, nil)
	require.NoError(t, err)
}

func TestReadMarksThatMySQLHasNotAreFoundInAllPages(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const last = 2*marksPage + 1
		groups := groupsIn(2, 2)
		want := make(map[string]int64)
		for i := range int64(last) {
			user := fmt.Sprint("u", i)
			e.markRead(t, groups[0], user, i+1)
			e.markRead(t, groups[1], user, last)
			if i+1 >= 42 {
				want[user] = i + 1
			}
		}
		require.Equal(t, want, e.above(t, groups[0], 42))
		require.Empty(t, e.above(t, "nobody has read here", 1))
	})
}

// What MySQL has is asked of MySQL: however many marks are cached, they are not looked at.
func TestReadMarksThatMySQLHasAreLeftOut(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.FillReads(t.Context(), map[domain.GroupUser]int64{{Group: "a", User: "cached"}: 9}))
		e.markRead(t, "a", "ann", 5)
		e.markRead(t, "a", "bob", 6)
		require.Equal(t, map[string]int64{"ann": 5, "bob": 6}, e.above(t, "a", 5))
		written := map[domain.GroupUser]int64{{Group: "a", User: "ann"}: 5, {Group: "a", User: "bob"}: 4}
		require.NoError(t, e.store.MarksWritten(t.Context(), e.log("a"), written))
		require.Equal(t, map[string]int64{"bob": 6}, e.above(t, "a", 5), "his has moved on since it was written")
	})
}

func TestSendersHaveReadWhatIsNotYetStored(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		for range domain.MaxPage {
			s.must(t, domain.Draft{Group: "a", From: "ann"})
		}
		s.must(t, domain.Draft{Group: "a", From: "bob"})
		server := domain.Draft{Group: "a", From: "cleo", Operator: "key", Body: text(`\",\"operator\":\"`)}
		s.must(t, server)
		server.Operator = ""
		server.From = "dora"
		s.must(t, server)
		last := int64(domain.MaxPage + 3)
		require.Equal(t, map[string]int64{"ann": last - 3, "bob": last - 2, "dora": last}, e.above(t, "a", 1))
		require.Equal(t, map[string]int64{"dora": last}, e.above(t, "a", last-1))
		entries := e.logged(t, "a")
		e.commit(t, "a", entries[:len(entries)-1])
		require.Equal(t, map[string]int64{"dora": last}, e.above(t, "a", 1), "the others' marks are in MySQL")
		e.commit(t, "a", entries[len(entries)-1:])
		require.Empty(t, e.above(t, "a", 1))
	})
}

func TestReadMarksFarBehindAreUnavailable(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	for range maxUnstoredSenders + domain.MaxPage {
		s.must(t, domain.Draft{Group: "a", From: "ann"})
	}
	_, err := e.store.ReadMarksAbove(t.Context(), "a", 1)
	require.Equal(t, domain.CodeUnavailable, domain.CodeOf(err))
	require.Equal(t, map[string]int64{"ann": maxUnstoredSenders + domain.MaxPage}, e.above(t, "a", 300), "from there on they are few enough")

	log := e.log("a")
	fields := make([]any, 0, 2*(maxDirtyMarks+1))
	for i := range maxDirtyMarks + 1 {
		fields = append(fields, fmt.Sprint("b|u", i), 1)
	}
	require.NoError(t, e.store.rdb.HSet(t.Context(), dirtyKey(log.Partition, log.Gen), fields...).Err())
	_, err = e.store.ReadMarksAbove(t.Context(), "a", 1000)
	require.Equal(t, domain.CodeUnavailable, domain.CodeOf(err))
}
