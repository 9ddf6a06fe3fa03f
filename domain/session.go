package domain

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// SessionPolicy says what a login does to the user's others.
type SessionPolicy string

const (
	SessionMulti   SessionPolicy = "multi"   // up to MaxSessions; one more closes the oldest
	SessionReplace SessionPolicy = "replace" // closes the one of the same device class
	SessionReject  SessionPolicy = "reject"  // is refused while there is one
)

const (
	MaxSessions      = 10
	MaxPresenceUsers = 200

	kickedReason    = "removed by an administrator"
	ReplacedReason  = "replaced by another login"
	maxDirectEvents = 1000 // conversations that are told when somebody comes or goes
)

// ErrNotEntered is wrapped by what Enter fails with where it is certain that nothing was written.
var ErrNotEntered = errors.New("the session was not let in")

// Session is a connection as all instances know it.
type Session struct {
	Conn     string
	User     string
	Device   string // class, such as ios; "" is a class too
	Instance string // id of the instance's life: a restarted one is another
	OpenedMS int64  // when it was let in, as its Admission said; 0 before
}

// Admission is what a connection learns when it is let in.
type Admission struct {
	LastNote string // notes up to this one are older than the connection
	First    bool   // the user had no connection before
	OpenedMS int64  // when it was let in, by Redis' clock: the oldest session gives way first
}

// Presence is whether a user is there.
type Presence struct {
	Online     bool
	Devices    []string // distinct classes of his connections, sorted; without ""
	LastSeenMS int64    // when the last of them ended; 0: not known, or online
}

// SessionStore is the Redis side of sessions. Sessions of instances that are no longer alive do not count.
type SessionStore interface {
	// Enter lets a session in as the policy allows, or refuses it with already_online. Those that give way for it
	// are told so by a NoteClose. After any other error than one of ErrNotEntered it may be in.
	Enter(ctx context.Context, s Session, policy SessionPolicy) (Admission, error)
	// Leave takes a session out; last tells that the user has none now. It may be repeated.
	Leave(ctx context.Context, s Session) (last bool, err error)
	// SessionsOf lists the sessions that users have now.
	SessionsOf(ctx context.Context, users []string) (map[string][]Session, error)
	// Presence has an entry for every user asked for.
	Presence(ctx context.Context, users []string) (map[string]Presence, error)
}

// UserGroups is the MySQL side of sessions.
type UserGroups interface {
	// GroupsOf lists up to limit of a user's groups above the id after, by id.
	GroupsOf(ctx context.Context, user, after string, limit int) ([]string, error)
}

// Sessions are the use cases around logins and presence.
type Sessions struct {
	store  SessionStore
	notes  Notes
	bus    Bus
	groups UserGroups
	policy SessionPolicy
	late   func(Session)
}

// NewSessions wires the use cases; policy "" is multi. UseLate completes them.
func NewSessions(store SessionStore, notes Notes, bus Bus, groups UserGroups, policy SessionPolicy) *Sessions {
	if policy == "" {
		policy = SessionMulti
	}
	return &Sessions{store: store, notes: notes, bus: bus, groups: groups, policy: policy, late: func(Session) {}}
}

// UseLate names who has a session taken out that may be in Redis though it has no connection, and tells Offline if it
// was the last. To be called before the first Enter; late must not block.
func (s *Sessions) UseLate(late func(Session)) { s.late = late }

// Enter lets a session in: already_online when the policy says so. After an error the caller has nothing to take out.
func (s *Sessions) Enter(ctx context.Context, session Session) (Admission, error) {
	a, err := s.store.Enter(ctx, session, s.policy)
	if err == nil || CodeOf(err) == CodeAlreadyOnline {
		return a, err
	}
	if !errors.Is(err, ErrNotEntered) {
		s.late(session)
	}
	return a, Unavailable(fmt.Errorf("session of %s: %w", session.User, err), "Redis")
}

// Leave takes a session out and tells the user's direct conversations among groups when it was his last. What fails
// is done later.
func (s *Sessions) Leave(ctx context.Context, session Session, groups []string) error {
	last, err := s.store.Leave(ctx, session)
	if err == nil && last {
		err = s.announceIfSo(ctx, session.User, false, groups)
	}
	if err != nil {
		s.late(session)
	}
	return err
}

// Offline tells the user's direct conversations that he is gone, unless he is back.
func (s *Sessions) Offline(ctx context.Context, user string) error {
	return s.announceToAll(ctx, user, false)
}

// Online tells the user's direct conversations that he is there, unless he has gone: his instance was taken for dead,
// and is back.
func (s *Sessions) Online(ctx context.Context, user string) error {
	return s.announceToAll(ctx, user, true)
}

// GiveWay ends those of the sessions that the policy would not have left beside a later login: their instance was taken
// for dead meanwhile, and is back.
func (s *Sessions) GiveWay(ctx context.Context, sessions []Session) error {
	if s.policy == SessionMulti || len(sessions) == 0 {
		return nil
	}
	users := make([]string, len(sessions))
	for i, session := range sessions {
		users[i] = session.User
	}
	found, err := s.store.SessionsOf(ctx, distinct(users, ""))
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if !slices.ContainsFunc(found[session.User], func(other Session) bool { return s.outlives(other, session) }) {
			continue
		}
		note := Note{Kind: NoteClose, Conn: session.Conn, Code: CloseReplaced, Reason: ReplacedReason}
		if err := s.notes.Tell(ctx, map[string]Note{session.User: note}); err != nil {
			return err
		}
	}
	return nil
}

// outlives reports whether a login came later than a session and leaves no room for it.
func (s *Sessions) outlives(other, session Session) bool {
	later := other.OpenedMS > session.OpenedMS || other.OpenedMS == session.OpenedMS && other.Conn > session.Conn
	return later && (s.policy == SessionReject || other.Device == session.Device)
}

func (s *Sessions) announceToAll(ctx context.Context, user string, online bool) error {
	direct, err := s.groups.GroupsOf(ctx, user, directPrefix, maxDirectEvents)
	if err != nil {
		return Unavailable(fmt.Errorf("direct conversations of %s: %w", user, err), "MySQL")
	}
	return s.announceIfSo(ctx, user, online, direct)
}

// announceIfSo looks at the last moment: what others tell of a login or an end meanwhile must not be contradicted.
func (s *Sessions) announceIfSo(ctx context.Context, user string, online bool, groups []string) error {
	direct := directAmong(groups)
	if len(direct) == 0 {
		return nil
	}
	found, err := s.store.Presence(ctx, []string{user})
	if err != nil || found[user].Online != online {
		return err
	}
	return s.Announce(ctx, user, online, direct)
}

// Announce tells the direct conversations among groups that a user is there or not, but for himself.
func (s *Sessions) Announce(ctx context.Context, user string, online bool, groups []string) error {
	direct := directAmong(groups)
	if len(direct) == 0 {
		return nil
	}
	return s.bus.ToGroups(ctx, direct, ExceptUser(user), PresenceEvent{User: user, Online: online}.JSON())
}

// directAmong are the direct conversations of groups, as many as are told.
func directAmong(groups []string) (direct []string) {
	for _, group := range groups {
		if _, _, ok := SplitDirect(group); ok && len(direct) < maxDirectEvents {
			direct = append(direct, group)
		}
	}
	return direct
}

// Presence tells who is there; everybody may ask. field names the users in errors.
func (s *Sessions) Presence(ctx context.Context, field string, users []string) (map[string]Presence, error) {
	if len(users) == 0 {
		return nil, BadField(field, "is required: at least one user")
	}
	if len(users) > MaxPresenceUsers {
		return nil, TooLarge(field, "at most %d a call", MaxPresenceUsers)
	}
	for i, user := range users {
		if err := CheckUser(fmt.Sprintf("%s[%d]", field, i), user); err != nil {
			return nil, err
		}
	}
	found, err := s.store.Presence(ctx, users)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("presence of %d users: %w", len(users), err), "Redis")
	}
	return found, nil
}

// PeerOnline tells whether the other side of a direct conversation is there; false when that cannot be learned.
func (s *Sessions) PeerOnline(ctx context.Context, user string) bool {
	found, err := s.store.Presence(ctx, []string{user})
	return err == nil && found[user].Online
}

// Kick ends all connections that a user has now. For app servers.
func (s *Sessions) Kick(ctx context.Context, actor Actor, user string) error {
	if err := CheckUser("user", user); err != nil {
		return err
	}
	if !actor.IsServer() {
		return Errorf(CodeForbidden, "app servers end connections")
	}
	err := s.notes.Tell(ctx, map[string]Note{user: {Kind: NoteClose, Code: CloseRemoved, Reason: kickedReason}})
	if err != nil {
		return Unavailable(fmt.Errorf("kick %s: %w", user, err), "Redis")
	}
	return nil
}
