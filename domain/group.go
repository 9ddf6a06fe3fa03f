package domain

import "encoding/json"

// GroupType says who may enter.
type GroupType string

const (
	Room    GroupType = "room"   // open: whoever is not blocked may read and send without joining
	Private GroupType = "group"  // members only
	Direct  GroupType = "direct" // two users, id dm:<lower>:<higher>
)

// Role of a member. The zero value is an outsider.
type Role string

const (
	Outsider  Role = ""
	Owner     Role = "owner"
	Admin     Role = "admin"
	Member    Role = "member"
	BlockedIn Role = "blocked" // kept out, also of an open group
)

// IsMember tells whether one is in.
func (r Role) IsMember() bool { return r != Outsider && r != BlockedIn }

// How users become members.
const (
	JoinOpen   = "open"   // by joining, or added by a member
	JoinInvite = "invite" // added by the owner or an admin; in a room by any member
	JoinClosed = "closed" // added by app servers only
)

func validJoin(join string) bool { return join == JoinOpen || join == JoinInvite || join == JoinClosed }

// MuteForever as a mute's end means it has none.
const MuteForever = -1

// Group is a conversation as MySQL holds it.
type Group struct {
	ID          string
	Type        GroupType
	Name        string
	Avatar      string
	Join        string // JoinOpen, JoinInvite or JoinClosed
	Owner       string // "" for a group without one
	Attributes  json.RawMessage
	Muted       bool // only owner, admins and app servers may send
	Dismissed   bool
	MemberLimit int
	MemberCount int
	Version     int64 // raised by every change of the group or its members; orders cache fills
	CreatedMS   int64
	CreatedGen  int64 // generation of its partition at creation: its first seed there is 0
}

// Membership is one user's place in a group. A mute outlives leaving and being blocked: then it has no role, or BlockedIn.
type Membership struct {
	User        string
	Role        Role
	MuteUntilMS int64 // 0: not muted; MuteForever
	JoinedMS    int64 // 0 for who is not in
}

// GroupSnapshot is a group with all its members at one version, as a cache fill needs it.
type GroupSnapshot struct {
	Group
	Members []Membership
}

// Actor is who asks: a user, or an app server by its key, perhaps on behalf of a user.
type Actor struct {
	User string // who acts; "" for an app server that acts for nobody
	Key  string // id of the app server's key; "" for a user
}

// name is by what the actor is known to others: an app server by its key, whomever it acts for.
func (a Actor) name() string {
	if a.IsServer() {
		return a.Key
	}
	return a.User
}

// IsServer reports whether an app server asks: it may do everything, for anyone.
func (a Actor) IsServer() bool { return a.Key != "" }
