package domain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

const (
	MaxMembersACall    = 500
	DefaultMemberLimit = 100_000
	MaxMemberLimit     = 1_000_000
	MaxNameBytes       = 256
	MaxURLBytes        = 2048
	MaxAttributeBytes  = 4 << 10
	maxListPage        = 200
)

// GroupChange is what one transaction did to a group; Group carries the version it raised.
type GroupChange struct {
	Group
	Put     []Membership // places as they are now: new, changed, or asked for; also of who has gone and stays muted
	Raised  bool         // the version is one higher than before; otherwise nothing was changed
	Joined  []string     // those of Put who were not in before; their read marks were set anew
	Removed []string     // who have no place any more

	Created bool            // the group is new: Redis loads it when somebody comes
	Notices []Notice        // what the group's subscribers are told with it
	Notes   map[string]Note // and users, by their ids
	Events  []GroupEvent    // what happened, for everybody else who wants to know
	Kept    int64           // names the change in the outbox until Redis has it; 0: it is not there
}

// Tell completes a change with what is told of it. It is asked within the transaction, so that whoever brings the change to
// Redis, be it after a crash, tells the same; perhaps more than once.
type Tell func(c *GroupChange)

// GroupStore is the MySQL side of groups. Each change is one transaction that raises the version and keeps the change,
// with what tell makes of it, until it is applied.
type GroupStore interface {
	// Create stores a new group with its members: conflict when the id is in use, gone when it was dismissed.
	Create(ctx context.Context, g Group, members []string, tell Tell) (*GroupChange, error)
	// Group reads one: not_found when there is none. Dismissed ones are returned.
	Group(ctx context.Context, group string) (*Group, error)
	// Groups lists groups above the id after, by id; those of a user, or with user "" all. Dismissed ones are left out.
	Groups(ctx context.Context, user, after string, limit int) ([]Group, error)
	// AddMembers puts users in with the role member and the read mark readSeq; who is in stays as he is. Blocked
	// users: forbidden. Over the limit: too_large.
	AddMembers(ctx context.Context, group string, users []string, readSeq int64, tell Tell) (*GroupChange, error)
	// ChangeMember lets decide say what a user's place is to be, seeing his and the actor's as nobody changes them
	// meanwhile; it may be asked more than once. Somebody made owner takes the group over: the former one is an admin then.
	ChangeMember(ctx context.Context, group, actor, user string, decide Decide, tell Tell) (*GroupChange, error)
	// Update lets change set what a group's owner may set of it; nothing is raised if that is as it was.
	Update(ctx context.Context, group string, change func(*Group), tell Tell) (*GroupChange, error)
	Dismiss(ctx context.Context, group string, tell Tell) (*GroupChange, error)
	// Applied forgets a change that Redis has.
	Applied(ctx context.Context, c *GroupChange) error
	// Members lists the members of a group above the user after, by user id; who has gone or is blocked is left out.
	Members(ctx context.Context, group, after string, limit int) ([]Membership, error)
	// Member is one user's place; the zero Membership if he has none.
	Member(ctx context.Context, group, user string) (Membership, error)
}

// Decide says what a user's place is to be, seeing the group, the actor's place and his.
type Decide func(g *Group, mine, his Membership) (Membership, error)

// GroupCache is the Redis side of groups.
type GroupCache interface {
	Viewers
	// Changed brings a change to the cached group, or drops what is cached when it does not follow on it, and tells
	// the notices.
	Changed(ctx context.Context, c *GroupChange) error
	// ToUser is that of Bus.
	ToUser(ctx context.Context, user, except string, event []byte) error
	// NowMS is the time by which mutes end.
	NowMS(ctx context.Context) (int64, error)
}

// Groups are the use cases around groups and their members: MySQL first, then Redis.
type Groups struct {
	store GroupStore
	cache GroupCache
	notes Notes
	heads *Heads
	newID func() string

	moderator Moderator // nil: none
}

// NewGroups wires the use cases; newID names groups whose creator does not.
func NewGroups(store GroupStore, cache GroupCache, notes Notes, heads *Heads, newID func() string) *Groups {
	return &Groups{store: store, cache: cache, notes: notes, heads: heads, newID: newID}
}

// UseModerator sets the word list, for names; before the first use.
func (g *Groups) UseModerator(m Moderator) { g.moderator = m }

// checkName asks the word list for a name that a user gives; nil is none.
func (g *Groups) checkName(actor Actor, name *string) error {
	if g.moderator == nil || name == nil || actor.IsServer() {
		return nil
	}
	return g.moderator.Name("name", *name)
}

// NewGroup is what a creator says of a group.
type NewGroup struct {
	ID         string // "": one is made
	Type       GroupType
	Name       string
	Avatar     string
	Join       string // "": open for rooms, invite for groups
	Members    []string
	Attributes json.RawMessage
	Owner      string // "" for a user: himself; for an app server: none
}

// GroupView is a group with its current head.
type GroupView struct {
	Group
	MaxSeq int64
	Online int
}

// Create makes a group: conflict when the id is in use, gone when it was.
func (g *Groups) Create(ctx context.Context, actor Actor, n NewGroup) (*GroupView, error) {
	if !actor.IsServer() {
		if n.Owner != "" && n.Owner != actor.User {
			return nil, &Error{Code: CodeForbidden, Field: "owner", Message: "owner: users create groups of their own only"}
		}
		n.Owner = actor.User
	}
	if n.ID == "" {
		n.ID = g.newID()
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := g.checkName(actor, &n.Name); err != nil {
		return nil, err
	}
	change, err := g.store.Create(ctx, Group{
		ID: n.ID, Type: n.Type, Name: n.Name, Avatar: n.Avatar, Join: n.Join, Owner: n.Owner,
		Attributes: n.Attributes, MemberLimit: DefaultMemberLimit,
	}, distinct(n.Members, n.Owner), tellCreated(g.event(actor, n.ID, ChangeCreated, "")))
	if err != nil {
		return nil, asStoreError(err, "create group "+n.ID)
	}
	if err := g.bring(ctx, change); err != nil {
		return nil, err
	}
	return &GroupView{Group: change.Group}, nil
}

// OpenDirect makes a direct conversation and subscribes both sides. One that is there already is told again: who made
// it may not have got so far.
func (g *Groups) OpenDirect(ctx context.Context, group string) error {
	lower, higher, ok := SplitDirect(group)
	if !ok {
		return BadField("group", "is not a direct conversation")
	}
	both := []string{lower, higher}
	tell := tellCreated(GroupEvent{Group: group, Change: ChangeCreated})
	change, err := g.store.Create(ctx, Group{ID: group, Type: Direct, Join: JoinInvite, MemberLimit: len(both)}, both, tell)
	if CodeOf(err) == CodeConflict {
		change, err = &GroupChange{Group: Group{ID: group, Version: 1}, Put: []Membership{{User: lower}, {User: higher}}, Created: true}, nil
		tell(change)
	}
	if err != nil {
		return asStoreError(err, "open "+group)
	}
	return g.bring(ctx, change)
}

// event is a change by the actor; user "" is the group as a whole.
func (*Groups) event(actor Actor, group, change, user string) GroupEvent {
	e := GroupEvent{Group: group, Change: change, User: user}
	if by := actor.name(); by != user {
		e.By = by
	}
	return e
}

// tellCreated subscribes the connections of a new group's members, with an event.
func tellCreated(event GroupEvent) Tell {
	return func(c *GroupChange) {
		c.Events = []GroupEvent{event}
		c.Notes = make(map[string]Note, len(c.Put))
		for _, m := range c.Put {
			c.Notes[m.User] = Note{Kind: NoteJoined, Group: c.ID, Version: c.Version, Event: event.JSON()}
		}
	}
}

func (n *NewGroup) check() error {
	if err := CheckNewGroup("group", n.ID); err != nil {
		return err
	}
	switch n.Type {
	case Room:
		n.Join = orDefault(n.Join, JoinOpen)
	case Private:
		n.Join = orDefault(n.Join, JoinInvite)
	default:
		return BadField("type", "must be room or group")
	}
	if err := (GroupPatch{Name: &n.Name, Avatar: &n.Avatar, Join: &n.Join, Attributes: n.Attributes}).check(); err != nil {
		return err
	}
	if n.Owner != "" {
		if err := CheckUser("owner", n.Owner); err != nil {
			return err
		}
	}
	return checkUsers(n.Members)
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func checkUsers(users []string) error {
	if len(users) > MaxMembersACall {
		return TooLarge("members", "at most %d a call", MaxMembersACall)
	}
	for i, user := range users {
		if err := CheckUser(fmt.Sprintf("members[%d]", i), user); err != nil {
			return err
		}
	}
	return nil
}

// distinct is the users once each, sorted, without one who is put in another way.
func distinct(users []string, without string) []string {
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	return slices.DeleteFunc(users, func(user string) bool { return user == without })
}

// asStoreError passes domain errors on and calls everything else MySQL being away.
func asStoreError(err error, doing string) error {
	if e := AsError(err); e.Code != CodeInternal {
		return err
	}
	return Unavailable(fmt.Errorf("%s: %w", doing, err), "MySQL")
}

// enter reads a group and checks that the actor may do this.
func (g *Groups) enter(ctx context.Context, actor Actor, group string, do Action) (*Group, error) {
	got, mine, err := g.place(ctx, actor, group)
	if err != nil {
		return nil, err
	}
	return got, Allow(actor, do, got.Type, got.Join, mine.Role)
}

// place reads a group and the actor's place in it.
func (g *Groups) place(ctx context.Context, actor Actor, group string) (*Group, Membership, error) {
	if err := CheckGroup("group", group); err != nil {
		return nil, Membership{}, err
	}
	got, err := g.live(ctx, group)
	if err != nil {
		return nil, Membership{}, err
	}
	mine, err := g.store.Member(ctx, group, actor.User)
	if err != nil {
		return nil, Membership{}, asStoreError(err, "read member of "+group)
	}
	return got, mine, nil
}

// live reads a group that was not dismissed. One that was is told to the cache once more: the first time may not
// have got there.
func (g *Groups) live(ctx context.Context, group string) (*Group, error) {
	got, err := g.store.Group(ctx, group)
	if err != nil {
		return nil, asStoreError(err, "read group "+group)
	}
	if !got.Dismissed {
		return got, nil
	}
	if err := g.bring(ctx, &GroupChange{Group: *got}); err != nil {
		return nil, err
	}
	return nil, Errorf(CodeGone, "the group was dismissed")
}

// Get shows a group: rooms to everybody, groups to members.
func (g *Groups) Get(ctx context.Context, actor Actor, group string) (*GroupView, error) {
	got, err := g.enter(ctx, actor, group, SeeGroup)
	if err != nil {
		return nil, err
	}
	return g.view(ctx, got)
}

func (g *Groups) view(ctx context.Context, group *Group) (*GroupView, error) {
	head, err := g.heads.One(ctx, "", group.ID)
	if err != nil {
		return nil, err
	}
	online, err := g.cache.Online(ctx, []string{group.ID})
	if err != nil {
		return nil, Unavailable(fmt.Errorf("viewers of %s: %w", group.ID, err), "Redis")
	}
	return &GroupView{Group: *group, MaxSeq: head.MaxSeq, Online: online[group.ID]}, nil
}

// List is a user's groups, or all for an app server that acts for nobody, by id; next is "" at the end.
func (g *Groups) List(ctx context.Context, actor Actor, cursor string, limit int) (views []GroupView, next string, err error) {
	if cursor != "" {
		if err := CheckGroup("cursor", cursor); err != nil {
			return nil, "", BadField("cursor", "is not one that this server gave")
		}
	}
	limit, err = listLimit(limit)
	if err != nil {
		return nil, "", err
	}
	list, err := g.store.Groups(ctx, actor.User, cursor, limit+1)
	if err != nil {
		return nil, "", asStoreError(err, "list groups")
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	heads, err := g.heads.Get(ctx, "", ids)
	if err != nil {
		return nil, "", err
	}
	online, err := g.cache.Online(ctx, ids)
	if err != nil {
		return nil, "", Unavailable(fmt.Errorf("viewers of %d groups: %w", len(ids), err), "Redis")
	}
	for i := range list {
		views = append(views, GroupView{Group: list[i], MaxSeq: heads[i].MaxSeq, Online: online[ids[i]]})
	}
	return views, next, nil
}

func listLimit(limit int) (int, error) {
	if limit < 0 {
		return 0, BadField("limit", "must be at least 1")
	}
	if limit == 0 {
		return DefaultPage, nil
	}
	return min(limit, maxListPage), nil
}

// Dismiss ends a group for ever; its id is never used again.
func (g *Groups) Dismiss(ctx context.Context, actor Actor, group string) error {
	if _, err := g.enter(ctx, actor, group, Dismiss); err != nil {
		return err
	}
	event := g.event(actor, group, ChangeDismissed, "")
	change, err := g.store.Dismiss(ctx, group, func(c *GroupChange) {
		c.Events = []GroupEvent{event}
		c.Notices = []Notice{{Event: event.JSON(), Dismissed: true}}
	})
	if err != nil {
		return asStoreError(err, "dismiss "+group)
	}
	return g.bring(ctx, change)
}
