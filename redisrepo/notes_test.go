package redisrepo

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// since are the user's notes behind an id.
func (e *env) since(t *testing.T, user, id string) []domain.Note {
	t.Helper()
	found, err := e.store.Since(t.Context(), map[string]string{user: id})
	require.NoError(t, err)
	return found[user]
}

func (e *env) tell(t *testing.T, user string, n domain.Note) {
	t.Helper()
	require.NoError(t, e.store.Tell(t.Context(), map[string]domain.Note{user: n}))
}

// hear listens to a channel; the function waits for the next payload.
func (e *env) hear(t *testing.T, channel string) (next func() string) {
	t.Helper()
	pubsub := e.store.rdb.Subscribe(t.Context(), channel)
	t.Cleanup(func() { require.NoError(t, pubsub.Close()) })
	_, err := pubsub.ReceiveTimeout(t.Context(), patience) // the confirmation
	require.NoError(t, err)
	return func() string {
		t.Helper()
		m, err := pubsub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		require.Equal(t, channel, m.Channel)
		return m.Payload
	}
}

func TestNotesAreReadInOrderAsTheyWereTold(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.Tell(t.Context(), nil))
		require.Empty(t, e.since(t, "u", ""))
		told := []domain.Note{
			{Kind: domain.NoteJoined, Group: "dm:a:b", After: 9_007_199_254_740_991, Event: []byte(`{"event":"group"}`)},
			{Kind: domain.NoteLeft, Group: "g", Event: []byte("binary \x00\xff\n")},
			{Kind: domain.NoteJoined, Group: "g"},
			{Kind: domain.NoteClose, Code: 4503, Reason: "removed by an administrator"},
			{Kind: domain.NoteClose, Conn: "c1", Code: 4502, Reason: "replaced"},
		}
		for _, n := range told {
			e.tell(t, "u", n)
		}
		got := e.since(t, "u", "")
		require.Len(t, got, len(told))
		for i := range got {
			require.True(t, domain.NoteAfter(got[i].ID, ""))
			told[i].ID = got[i].ID
		}
		require.Equal(t, told, got)
		require.Equal(t, told[2:], e.since(t, "u", told[1].ID))
		require.Empty(t, e.since(t, "u", told[4].ID))
		require.Equal(t, told, e.since(t, "u", "0-0"))
	})
}

func TestManyUsersAreToldAndReadAtOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		found, err := e.store.Since(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, found)
		notes, last := make(map[string]domain.Note), make(map[string]string)
		for i := range e.many(3 * pipelineCalls) {
			user := fmt.Sprint("u", i)
			last[user] = ""
			if i%3 > 0 {
				notes[user] = domain.Note{Kind: domain.NoteJoined, Group: "g", After: int64(i)}
			}
		}
		heard := e.hear(t, userChannel(e.cfg.Partitions.Of("u1"), "u1"))
		require.NoError(t, e.store.Tell(t.Context(), notes))
		require.Equal(t, "n", heard())
		found, err = e.store.Since(t.Context(), last)
		require.NoError(t, err)
		require.Len(t, found, len(notes))
		for user, list := range found {
			require.Len(t, list, 1)
			require.Equal(t, notes[user].After, list[0].After)
			last[user] = list[0].ID
		}
		found, err = e.store.Since(t.Context(), last)
		require.NoError(t, err)
		require.Empty(t, found, "everything is known")
	})
}

func TestAReaderWhoseNotesWereTrimmedIsClosed(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.tell(t, "u", domain.Note{Kind: domain.NoteJoined, Group: "first"})
		known := e.since(t, "u", "")[0].ID
		for i := range notesKept - 1 {
			e.tell(t, "u", domain.Note{Kind: domain.NoteJoined, Group: fmt.Sprint("g", i)})
		}
		require.Len(t, e.since(t, "u", known), notesKept-1, "all that it has not seen are there")
		for range 3 {
			e.tell(t, "u", domain.Note{Kind: domain.NoteLeft, Group: "g"})
		}
		n, err := e.store.rdb.XLen(t.Context(), notesKey(e.cfg.Partitions.Of("u"), "u")).Result()
		require.NoError(t, err)
		require.Equal(t, int64(notesKept), n)

		trimmed := e.since(t, "u", known)
		require.Len(t, trimmed, 1)
		last := trimmed[0].ID
		require.Equal(t, domain.Note{ID: last, Kind: domain.NoteClose, Code: 4003, Reason: "too much has changed, reconnect"}, trimmed[0])
		require.Empty(t, e.since(t, "u", last), "it is told once")
		e.alive(t, "i1")
		require.Equal(t, last, e.enter(t, "c", "u", "i1", "", domain.SessionMulti).LastNote)
		e.tell(t, "u", domain.Note{Kind: domain.NoteLeft, Group: "g"})
		require.Len(t, e.since(t, "u", last), 1)
	})
}

func TestTellLoadsItsScriptAndTellsOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.rdb.ScriptFlush(t.Context()).Err())
		require.NoError(t, e.store.Tell(t.Context(), map[string]domain.Note{
			"u": {Kind: domain.NoteLeft, Group: "g"}, "v": {Kind: domain.NoteLeft, Group: "g"},
		}))
		require.Len(t, e.since(t, "u", ""), 1)
		require.Len(t, e.since(t, "v", ""), 1)
	})
}

func TestANoteThatCannotBeReadIsAnError(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		key := notesKey(e.cfg.Partitions.Of("u"), "u")
		for _, broken := range []string{"a", "o"} {
			require.NoError(t, e.store.rdb.Del(t.Context(), key).Err())
			require.NoError(t, e.store.rdb.Do(t.Context(), "XADD", key, "*", "k", "joined", broken, "many").Err())
			_, err := e.store.Since(t.Context(), map[string]string{"u": "", "v": ""})
			require.Error(t, err)
		}
		_, err := e.store.Since(t.Context(), map[string]string{"u": "no id", "v": ""})
		require.Error(t, err, "that v has none must not hide it")
	})
}
