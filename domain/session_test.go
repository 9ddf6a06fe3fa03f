package domain_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fakeSessions is a domain.SessionStore that answers as it is told.
type fakeSessions struct {
	err       error
	blind     error // of Presence
	admission domain.Admission
	last      bool
	online    map[string]domain.Presence

	sessions map[string][]domain.Session // by user

	entered []domain.SessionPolicy
	left    []domain.Session
	asked   int
}

func (f *fakeSessions) Enter(_ context.Context, _ domain.Session, policy domain.SessionPolicy) (domain.Admission, error) {
	f.entered = append(f.entered, policy)
	return f.admission, f.err
}

func (f *fakeSessions) Leave(_ context.Context, s domain.Session) (bool, error) {
	f.left = append(f.left, s)
	return f.last, f.err
}

func (f *fakeSessions) SessionsOf(_ context.Context, users []string) (map[string][]domain.Session, error) {
	f.asked++
	found := make(map[string][]domain.Session)
	for _, user := range users {
		found[user] = f.sessions[user]
	}
	return found, f.err
}

func (f *fakeSessions) Presence(_ context.Context, users []string) (map[string]domain.Presence, error) {
	f.asked++
	if err := cmp.Or(f.err, f.blind); err != nil {
		return nil, err
	}
	found := make(map[string]domain.Presence)
	for _, user := range users {
		found[user] = f.online[user]
	}
	return found, nil
}

// toldNotes keeps the notes told.
type toldNotes struct {
	domain.Notes
	err  error
	told []map[string]domain.Note
}

func (f *toldNotes) Tell(_ context.Context, notes map[string]domain.Note) error {
	f.told = append(f.told, notes)
	return f.err
}

// heardBus keeps the events handed to groups, as "<groups> !<except> <event>".
type heardBus struct {
	domain.Bus
	err    error
	events []string
}

func (f *heardBus) ToGroups(_ context.Context, groups []string, except string, event []byte) error {
	f.events = append(f.events, fmt.Sprintf("%s !%s %s", strings.Join(groups, " "), except, event))
	return f.err
}

// ownGroups are a user's groups.
type ownGroups struct {
	err    error
	groups []string
}

func (f *ownGroups) GroupsOf(_ context.Context, _, after string, limit int) (above []string, err error) {
	for _, group := range slices.Sorted(slices.Values(f.groups)) {
		if group > after && len(above) < limit {
			above = append(above, group)
		}
	}
	return above, f.err
}

type sessionsWorld struct {
	*domain.Sessions
	store  *fakeSessions
	notes  *toldNotes
	bus    *heardBus
	groups *ownGroups
	late   *[]domain.Session // to be taken out later
}

func newSessions(policy domain.SessionPolicy) sessionsWorld {
	w := sessionsWorld{store: &fakeSessions{}, notes: &toldNotes{}, bus: &heardBus{}, groups: &ownGroups{}, late: &[]domain.Session{}}
	w.Sessions = domain.NewSessions(w.store, w.notes, w.bus, w.groups, policy)
	w.UseLate(func(s domain.Session) { *w.late = append(*w.late, s) })
	return w
}

var (
	errGone = errors.New("connection refused")
	session = domain.Session{Conn: "c1", User: "u", Device: "ios", Instance: "i1"}
)

func TestASessionEntersUnderThePolicy(t *testing.T) {
	t.Parallel()
	for given, want := range map[domain.SessionPolicy]domain.SessionPolicy{
		"": domain.SessionMulti, domain.SessionMulti: domain.SessionMulti,
		domain.SessionReplace: domain.SessionReplace, domain.SessionReject: domain.SessionReject,
	} {
		w := newSessions(given)
		w.store.admission = domain.Admission{LastNote: "5-0", First: true}
		got, err := w.Enter(t.Context(), session)
		require.NoError(t, err)
		require.Equal(t, w.store.admission, got)
		require.Equal(t, []domain.SessionPolicy{want}, w.store.entered)
	}
}

func TestARefusedSessionIsToldApartFromAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newSessions(domain.SessionReject)
	w.store.err = domain.Errorf(domain.CodeAlreadyOnline, "you are connected elsewhere")
	_, err := w.Enter(t.Context(), session)
	requireCode(t, err, domain.CodeAlreadyOnline, "")
	w.store.err = fmt.Errorf("%w: %w", domain.ErrNotEntered, errGone)
	_, err = w.Enter(t.Context(), session)
	requireCode(t, err, domain.CodeUnavailable, "")
	require.Empty(t, *w.late, "it is not in")
	w.store.err = errGone
	_, err = w.Enter(t.Context(), session)
	requireCode(t, err, domain.CodeUnavailable, "")
	require.ErrorIs(t, err, errGone)
	require.Equal(t, []domain.Session{session}, *w.late, "it may be")
}

func TestNobodyNeedsToBeToldOfLateSessions(t *testing.T) {
	t.Parallel()
	store := &fakeSessions{err: errGone}
	sessions := domain.NewSessions(store, nil, nil, nil, "")
	require.ErrorIs(t, sessions.Leave(t.Context(), session, nil), errGone)
}

func TestTheLastSessionToLeaveIsToldToDirectConversations(t *testing.T) {
	t.Parallel()
	groups := []string{"room", "dm:u:v", "dm:a:u", "dm:v:u"}
	w := newSessions("")
	require.NoError(t, w.Leave(t.Context(), session, groups))
	require.Empty(t, w.bus.events, "others of his are there")
	w.store.last = true
	require.NoError(t, w.Leave(t.Context(), session, groups))
	require.Equal(t, []string{`dm:u:v dm:a:u !@u {"event":"presence","user":"u","online":false}`}, w.bus.events)
	require.Equal(t, []domain.Session{session, session}, w.store.left)

	w.store.online = map[string]domain.Presence{"u": {Online: true}}
	require.NoError(t, w.Leave(t.Context(), session, groups))
	require.Len(t, w.bus.events, 1, "he has come back meanwhile, which is told already")
	w.store.online = nil
	require.Empty(t, *w.late)

	w.store.err = errGone
	require.ErrorIs(t, w.Leave(t.Context(), session, groups), errGone)
	w.store.err, w.store.blind = nil, errGone
	require.ErrorIs(t, w.Leave(t.Context(), session, groups), errGone)
	require.Len(t, w.bus.events, 1)
	w.store.blind, w.bus.err = nil, errGone
	require.ErrorIs(t, w.Leave(t.Context(), session, groups), errGone)
	require.Equal(t, []domain.Session{session, session, session}, *w.late, "what fails is done later, wherever it failed")
}

func TestComingAndGoingIsToldToDirectConversationsOnly(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	require.NoError(t, w.Announce(t.Context(), "u", true, []string{"room", "g"}))
	require.NoError(t, w.Announce(t.Context(), "u", true, nil))
	require.Empty(t, w.bus.events)
	require.NoError(t, w.Announce(t.Context(), "u", true, []string{"g", "dm:u:v"}))
	require.Equal(t, []string{`dm:u:v !@u {"event":"presence","user":"u","online":true}`}, w.bus.events)

	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprint("dm:u:v", i))
	}
	require.NoError(t, w.Announce(t.Context(), "u", false, many))
	require.Equal(t, 1000, strings.Count(w.bus.events[1], "dm:"), "a bounded number")
}

func TestWhoWentWithADeadInstanceIsToldToDirectConversations(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	w.groups.groups = []string{"a", "room", "dm:u:v", "dm:a:u"}
	require.NoError(t, w.Offline(t.Context(), "u"))
	told := []string{`dm:a:u dm:u:v !@u {"event":"presence","user":"u","online":false}`}
	require.Equal(t, told, w.bus.events)

	w.store.online = map[string]domain.Presence{"u": {Online: true}}
	require.NoError(t, w.Offline(t.Context(), "u"))
	require.Equal(t, told, w.bus.events, "he is back")
	w.store.blind = errGone
	require.ErrorIs(t, w.Offline(t.Context(), "u"), errGone, "he may be back")
	w.store.blind, w.store.online, w.groups.err = nil, nil, errGone
	requireCode(t, w.Offline(t.Context(), "u"), domain.CodeUnavailable, "")
	require.Equal(t, told, w.bus.events)
}

func TestWhoWasThoughtToBeGoneIsToldToBeThere(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	w.groups.groups = []string{"a", "dm:u:v"}
	require.NoError(t, w.Online(t.Context(), "u"))
	require.Empty(t, w.bus.events, "he has gone meanwhile")
	w.store.online = map[string]domain.Presence{"u": {Online: true}}
	require.NoError(t, w.Online(t.Context(), "u"))
	require.Equal(t, []string{`dm:u:v !@u {"event":"presence","user":"u","online":true}`}, w.bus.events)
	w.store.blind = errGone
	require.ErrorIs(t, w.Online(t.Context(), "u"), errGone)
	w.store.blind, w.groups.err = nil, errGone
	requireCode(t, w.Online(t.Context(), "u"), domain.CodeUnavailable, "")
	require.Len(t, w.bus.events, 1)
}

func TestPresenceAnswersForEveryUser(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	w.store.online = map[string]domain.Presence{"u": {Online: true, Devices: []string{"ios"}}}
	got, err := w.Presence(t.Context(), "users", []string{"u", "v"})
	require.NoError(t, err)
	require.Equal(t, map[string]domain.Presence{"u": {Online: true, Devices: []string{"ios"}}, "v": {}}, got)
	w.store.err = errGone
	_, err = w.Presence(t.Context(), "users", []string{"u"})
	requireCode(t, err, domain.CodeUnavailable, "")
}

func TestPresenceRefusesWhatItCannotAnswer(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	for name, c := range map[string]struct {
		users []string
		code  domain.Code
		field string
	}{
		"nobody":   {nil, domain.CodeBadRequest, "users"},
		"too many": {make([]string, domain.MaxPresenceUsers+1), domain.CodeTooLarge, "users"},
		"no id":    {[]string{"u", "v w"}, domain.CodeBadRequest, "users[1]"},
		"reserved": {[]string{domain.SystemUser}, domain.CodeBadRequest, "users[0]"},
	} {
		_, err := w.Presence(t.Context(), "users", c.users)
		requireCode(t, err, c.code, c.field)
		require.Zero(t, w.store.asked, name)
	}
	users := make([]string, domain.MaxPresenceUsers)
	for i := range users {
		users[i] = fmt.Sprint("u", i)
	}
	got, err := w.Presence(t.Context(), "users", users)
	require.NoError(t, err)
	require.Len(t, got, len(users))
}

func TestAPeerIsOfflineWhenNobodyKnows(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	w.store.online = map[string]domain.Presence{"u": {Online: true}}
	require.True(t, w.PeerOnline(t.Context(), "u"))
	require.False(t, w.PeerOnline(t.Context(), "v"))
	w.store.err = errGone
	require.False(t, w.PeerOnline(t.Context(), "u"))
}

func TestAppServersKick(t *testing.T) {
	t.Parallel()
	w := newSessions("")
	server := domain.Actor{Key: "k1"}
	require.NoError(t, w.Kick(t.Context(), server, "u"))
	require.Equal(t, []map[string]domain.Note{
		{"u": {Kind: domain.NoteClose, Code: 4503, Reason: "removed by an administrator"}},
	}, w.notes.told)
	requireCode(t, w.Kick(t.Context(), user("u"), "u"), domain.CodeForbidden, "")
	requireCode(t, w.Kick(t.Context(), server, "no id"), domain.CodeBadRequest, "user")
	require.Len(t, w.notes.told, 1)
	w.notes.err = errGone
	requireCode(t, w.Kick(t.Context(), server, "u"), domain.CodeUnavailable, "")
}

// An instance that was taken for dead comes back with sessions that others have replaced since.
func TestSessionsGiveWayToLaterLogins(t *testing.T) {
	t.Parallel()
	mine := domain.Session{Conn: "c1", User: "u", Device: "ios", OpenedMS: 10}
	rivals := map[string]domain.Session{
		"later, same device":     {Conn: "c2", User: "u", Device: "ios", OpenedMS: 11},
		"later, other device":    {Conn: "c2", User: "u", Device: "web", OpenedMS: 11},
		"earlier":                {Conn: "c2", User: "u", Device: "ios", OpenedMS: 9},
		"same time, higher conn": {Conn: "c2", User: "u", Device: "ios", OpenedMS: 10},
		"same time, lower conn":  {Conn: "c0", User: "u", Device: "ios", OpenedMS: 10},
	}
	gives := map[domain.SessionPolicy][]string{
		domain.SessionMulti:   nil,
		domain.SessionReplace: {"later, same device", "same time, higher conn"},
		domain.SessionReject:  {"later, same device", "later, other device", "same time, higher conn"},
	}
	for policy, want := range gives {
		for name, rival := range rivals {
			w := newSessions(policy)
			w.store.sessions = map[string][]domain.Session{"u": {mine, rival}}
			require.NoError(t, w.GiveWay(t.Context(), []domain.Session{mine}))
			if !slices.Contains(want, name) {
				require.Empty(t, w.notes.told, "%s: %s", policy, name)
				continue
			}
			require.Equal(t, []map[string]domain.Note{{"u": {
				Kind: domain.NoteClose, Conn: "c1", Code: domain.CloseReplaced, Reason: domain.ReplacedReason,
			}}}, w.notes.told, "%s: %s", policy, name)
		}
	}
	w := newSessions(domain.SessionReject)
	w.store.err = errGone
	require.ErrorIs(t, w.GiveWay(t.Context(), []domain.Session{mine}), errGone)
	require.NoError(t, w.GiveWay(t.Context(), nil), "nobody is asked")
}
