package domain

import (
	"context"
	"fmt"
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

	CodeReplaced    = 4502 // close code of a connection that gives way to another login
	CodeKicked      = 4503 // close code of one that an app server ends
	kickedReason    = "removed by an administrator"
	maxDirectEvents = 1000 // conversations that are told when somebody comes or goes
)

// Session is a connection as all instances know it.
type Session struct {
	Conn     string
	User     string
	Device   string // class, such as ios; "" is a class too
	Instance string // id of the instance's life: a restarted one is another
}

// Admission is what a connection learns when it is let in.
type Admission struct {
	LastNote string // notes up to this one are older than the connection
	First    bool   // the user had no connection before
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
	// are told so by a NoteClose.
	Enter(ctx context.Context, s Session, policy SessionPolicy) (Admission, error)
	// Leave takes a session out; last tells that it was the user's last one.
	Leave(ctx context.Context, s Session) (last bool, err error)
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
}

// NewSessions wires the use cases; policy "" is multi.
func NewSessions(store SessionStore, notes Notes, bus Bus, groups UserGroups, policy SessionPolicy) *Sessions {
	if policy == "" {
		policy = SessionMulti
	}
	return &Sessions{store: store, notes: notes, bus: bus, groups: groups, policy: policy}
}

// Enter lets a session in: already_online when the policy says so.
func (s *Sessions) Enter(ctx context.Context, session Session) (Admission, error) {
	a, err := s.store.Enter(ctx, session, s.policy)
	if err != nil && CodeOf(err) != CodeAlreadyOnline {
		return a, Unavailable(fmt.Errorf("session of %s: %w", session.User, err), "Redis")
	}
	return a, err
}

// Leave takes a session out and tells the user's direct conversations when it was his last.
func (s *Sessions) Leave(ctx context.Context, session Session, groups []string) error {
	last, err := s.store.Leave(ctx, session)
	if err != nil || !last {
		return err
	}
	return s.Announce(ctx, session.User, false, groups)
}

// Offline tells the user's direct conversations that he has gone with a dead instance, unless he is back.
func (s *Sessions) Offline(ctx context.Context, user string) error {
	if s.PeerOnline(ctx, user) {
		return nil
	}
	direct, err := s.groups.GroupsOf(ctx, user, directPrefix, maxDirectEvents)
	if err != nil {
		return Unavailable(fmt.Errorf("direct conversations of %s: %w", user, err), "MySQL")
	}
	return s.Announce(ctx, user, false, direct)
}

// Announce tells the direct conversations among groups that a user is there or not, but for himself.
func (s *Sessions) Announce(ctx context.Context, user string, online bool, groups []string) error {
	var direct []string
	for _, group := range groups {
		if _, _, ok := SplitDirect(group); ok && len(direct) < maxDirectEvents {
			direct = append(direct, group)
		}
	}
	if len(direct) == 0 {
		return nil
	}
	return s.bus.ToGroups(ctx, direct, ExceptUser(user), PresenceEvent{User: user, Online: online}.JSON())
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
	err := s.notes.Tell(ctx, map[string]Note{user: {Kind: NoteClose, Code: CodeKicked, Reason: kickedReason}})
	if err != nil {
		return Unavailable(fmt.Errorf("kick %s: %w", user, err), "Redis")
	}
	return nil
}
