package domain_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// notices are those of the last change, as "<event> gone <user> dismissed".
func (w *world) notices() (list []string) {
	for _, n := range w.redis.changes[len(w.redis.changes)-1].Notices {
		list = append(list, fmt.Sprintf("%s came %q gone %q dismissed %v", n.Event, n.Came, n.Gone, n.Dismissed))
	}
	return list
}

func TestWhoComesIsToldAndSubscribed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"), as(domain.Member, "bob"))
	w.seed("g", 7, 7)
	_, err := w.groups.AddMembers(ctx, user("ann"), "g", []string{"zoe", "bob"})
	require.NoError(t, err)
	event := `{"event":"group","group":"g","change":"joined","user":"zoe","by":"ann"}`
	require.Equal(t, []string{event + ` came "zoe" gone "" dismissed false`}, w.notices())
	require.Equal(t, map[string][]domain.Note{
		"zoe": {{Kind: domain.NoteJoined, Group: "g", After: 7, Version: 1, Event: []byte(event)}},
		"bob": {{Kind: domain.NoteJoined, Group: "g", After: 7, Version: 1}}, // a former call may not have got so far
	}, w.redis.notes)
}

func TestWhoJoinsByHimselfIsNamedOnce(t *testing.T) {
	t.Parallel()
	for actor, by := range map[domain.Actor]string{user("ann"): "", {User: "ann", Key: "backend-1"}: `,"by":"backend-1"`} {
		w := newWorld()
		w.add(domain.Group{ID: "r", Type: domain.Room, Name: "R"})
		_, err := w.groups.Join(ctx, actor, "r")
		require.NoError(t, err)
		require.Equal(t, `{"event":"group","group":"r","change":"joined","user":"ann"`+by+`}`, string(w.redis.notes["ann"][0].Event))
	}
}

func TestTheMembersOfANewGroupAreSubscribed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, err := w.groups.Create(ctx, user("ann"), domain.NewGroup{ID: "g", Type: domain.Private, Name: "G", Members: []string{"bob"}})
	require.NoError(t, err)
	note := domain.Note{Kind: domain.NoteJoined, Group: "g", Version: 1, Event: []byte(`{"event":"group","group":"g","change":"created","by":"ann"}`)}
	require.Equal(t, map[string][]domain.Note{"ann": {note}, "bob": {note}}, w.redis.notes)
}

func TestWhoGoesIsToldAndHisSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do    func(w *world) error
		event string
	}{
		"left":    {func(w *world) error { return w.groups.Leave(ctx, user("bob"), "g") }, `"change":"left","user":"bob"}`},
		"removed": {func(w *world) error { return w.groups.RemoveMember(ctx, user("ann"), "g", "bob") }, `"change":"removed","user":"bob","by":"ann"}`},
	} {
		w := newWorld()
		w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"), as(domain.Member, "bob"))
		require.NoError(t, c.do(w), name)
		event := `{"event":"group","group":"g",` + c.event
		require.Equal(t, []string{event + ` came "" gone "bob" dismissed false`}, w.notices())
		require.Equal(t, map[string][]domain.Note{"bob": {{Kind: domain.NoteLeft, Group: "g", Version: 1, Event: []byte(event)}}}, w.redis.notes)
	}
}

func TestADismissalEndsEverySubscription(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"))
	require.NoError(t, w.groups.Dismiss(ctx, server, "g"))
	require.Equal(t, []string{`{"event":"group","group":"g","change":"dismissed","by":"backend-1"} came "" gone "" dismissed true`}, w.notices())
}

func TestADirectConversationIsOpenedOnceAndToldAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for range 2 {
		require.NoError(t, w.groups.OpenDirect(ctx, "dm:ann:bob"))
	}
	g := w.mysql.groups["dm:ann:bob"]
	require.Equal(t, domain.Direct, g.Type)
	require.Equal(t, domain.JoinInvite, g.Join)
	require.Empty(t, g.Owner)
	for _, u := range []string{"ann", "bob"} {
		require.Equal(t, domain.Member, w.mysql.members["dm:ann:bob"][u].Role)
		require.Len(t, w.redis.notes[u], 2, "who opened it first may not have got so far")
		require.Zero(t, w.redis.notes[u][0].After, "the first message is pushed too")
	}
	requireCode(t, w.groups.OpenDirect(ctx, "g"), domain.CodeBadRequest, "group")
	w.mysql.down = errDown
	requireCode(t, w.groups.OpenDirect(ctx, "dm:ann:cleo"), domain.CodeUnavailable, "")
}

func TestNobodyIsSubscribedUnheard(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.redis.down = errDown
	_, err := w.groups.Create(ctx, user("ann"), domain.NewGroup{ID: "g", Type: domain.Private, Name: "G"})
	requireCode(t, err, domain.CodeUnavailable, "")
}

func TestAMovedReadMarkIsTold(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	head, err := w.history.MarkRead(ctx, user("ann"), "r", 4, "c1")
	require.NoError(t, err)
	require.Equal(t, int64(4), head.ReadSeq)
	event := `{"event":"read","group":"r","user":"ann","seq":4}`
	require.Equal(t, []string{"small r " + event, "user ann but c1 " + event}, w.redis.told)
	_, err = w.history.MarkRead(ctx, user("ann"), "r", 3, "c1")
	require.NoError(t, err)
	require.Len(t, w.redis.told, 2, "it has not moved")
}

func TestReadersAreThoseWhoseMarkHasReachedTheMessage(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"},
		as(domain.Owner, "ann"), as(domain.Member, "bob"), as(domain.Member, "cleo"), as(domain.BlockedIn, "mallory"))
	w.accept("g", 1, 2, 3)
	w.seed("g", 3, 0)
	from := w.redis.recent["g"][1].From()
	require.NotEmpty(t, from)
	mark := func(reads map[domain.GroupUser]int64, user string, seq int64) {
		reads[domain.GroupUser{Group: "g", User: user}] = seq
	}
	mark(w.mysql.reads, "bob", 2)
	mark(w.redis.reads, "bob", 3)
	mark(w.redis.reads, "cleo", 1)
	mark(w.mysql.reads, "gone", 3)
	mark(w.redis.reads, "mallory", 3)
	mark(w.redis.reads, from, 3)
	got, err := w.history.Readers(ctx, server, "g", 2)
	require.NoError(t, err)
	require.Equal(t, &domain.Readers{Seq: 2, Count: 1, Users: []string{"bob"}}, got)
	_, err = w.history.Readers(ctx, server, "g", 4)
	requireCode(t, err, domain.CodeNotFound, "")
	_, err = w.history.Readers(ctx, user("zoe"), "g", 2)
	requireCode(t, err, domain.CodeNotMember, "")
}

func TestManyReadersAreCountedNotNamed(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	for i := range 101 {
		w.mysql.reads[domain.GroupUser{Group: "r", User: fmt.Sprint("u", i)}] = 10
	}
	got, err := w.history.Readers(ctx, user("zoe"), "r", 10)
	require.NoError(t, err)
	require.Equal(t, &domain.Readers{Seq: 10, Count: 101}, got, "whoever keeps a mark in a room has read")
}

func TestNotesAreOrderedByTimeThenNumber(t *testing.T) {
	t.Parallel()
	inOrder := []string{"", "0-1", "5-0", "5-2", "5-10", "40-0", "1700000000000-3"}
	for i, a := range inOrder {
		for j, b := range inOrder {
			require.Equal(t, i > j, domain.NoteAfter(a, b), "%q behind %q", a, b)
		}
	}
}
