package domain

import (
	"context"
)

// Join puts the actor's user into an open group. Who is in already stays as he is.
func (g *Groups) Join(ctx context.Context, actor Actor, group string) (*Membership, error) {
	if actor.User == "" {
		return nil, BadField("user", "is required: who joins")
	}
	got, member, err := g.place(ctx, actor, group)
	if err != nil {
		return nil, err
	}
	if member.Role == BlockedIn { // an app server does not get him in either
		return nil, errBlocked()
	}
	if err := Allow(actor, Join, got.Type, got.Join, member.Role); err != nil {
		return nil, err
	}
	if member.Role.IsMember() {
		list, err := g.endedMutes(ctx, []Membership{member})
		if err != nil {
			return nil, err
		}
		return &list[0], nil
	}
	members, err := g.add(ctx, actor, group, []string{actor.User})
	if err != nil {
		return nil, err
	}
	return &members[0], nil
}

// AddMembers puts users in; the answer has all of them as they are now.
func (g *Groups) AddMembers(ctx context.Context, actor Actor, group string, users []string) ([]Membership, error) {
	if len(users) == 0 {
		return nil, BadField("members", "is required: at least one user")
	}
	if err := checkUsers(users); err != nil {
		return nil, err
	}
	if _, err := g.enter(ctx, actor, group, AddMembers); err != nil {
		return nil, err
	}
	return g.add(ctx, actor, group, users)
}

func (g *Groups) add(ctx context.Context, actor Actor, group string, users []string) ([]Membership, error) {
	users = distinct(users, "")
	head, err := g.heads.One(ctx, "", group)
	if err != nil {
		return nil, err
	}
	change, err := g.store.AddMembers(ctx, group, users, head.MaxSeq)
	if err != nil {
		return nil, asStoreError(err, "add members to "+group)
	}
	notes := make(map[string]Note, len(users))
	for _, user := range users { // also who was in before: a former call may not have got so far
		notes[user] = Note{Kind: NoteJoined, Group: group, After: head.MaxSeq, Version: change.Version}
	}
	for _, user := range change.Joined {
		event := g.event(actor, group, ChangeJoined, user).JSON()
		change.Notices = append(change.Notices, Notice{Event: event, Came: user, Version: change.Version})
		notes[user] = Note{Kind: NoteJoined, Group: group, After: head.MaxSeq, Version: change.Version, Event: event}
	}
	if err := g.changed(ctx, change); err != nil {
		return nil, err
	}
	if err := g.tell(ctx, notes); err != nil {
		return nil, err
	}
	return g.endedMutes(ctx, change.Put)
}

// Leave takes the actor's user out.
func (g *Groups) Leave(ctx context.Context, actor Actor, group string) error {
	if actor.User == "" {
		return BadField("user", "is required: who leaves")
	}
	asUser := Actor{User: actor.User}
	if _, err := g.enter(ctx, asUser, group, Leave); err != nil {
		return err
	}
	return g.remove(ctx, group, actor.User, g.event(actor, group, ChangeLeft, actor.User))
}

// RemoveMember takes somebody out: not the owner, and admins only by the owner or an app server.
func (g *Groups) RemoveMember(ctx context.Context, actor Actor, group, user string) error {
	if err := CheckUser("user", user); err != nil {
		return err
	}
	got, mine, err := g.place(ctx, actor, group)
	if err == nil {
		err = Allow(actor, RemoveMembers, got.Type, got.Join, mine.Role)
	}
	if err != nil {
		return err
	}
	target, err := g.store.Member(ctx, group, user)
	if err != nil {
		return asStoreError(err, "read member of "+group)
	}
	event := g.event(actor, group, ChangeRemoved, user)
	if !target.Role.IsMember() {
		if err := g.remove(ctx, group, user, event); err != nil { // tells the cache, if a former removal did not get there
			return err
		}
		return errNotIn()
	}
	if err := AllowOver(actor, RemoveMembers, mine.Role, target.Role); err != nil {
		return err
	}
	return g.remove(ctx, group, user, event)
}

// remove takes a user out and ends his subscriptions; the event is told only if he was in.
func (g *Groups) remove(ctx context.Context, group, user string, event GroupEvent) error {
	change, err := g.store.RemoveMember(ctx, group, user)
	if err != nil {
		return asStoreError(err, "remove member of "+group)
	}
	return g.tellGone(ctx, change, event, true)
}

// tellGone ends the subscriptions of the user whom the event names. He is told it if he was taken out just now, and so is
// the group if he was a member.
func (g *Groups) tellGone(ctx context.Context, change *GroupChange, event GroupEvent, wasMember bool) error {
	notice := Notice{Gone: event.User, Version: change.Version}
	note := Note{Kind: NoteLeft, Group: change.ID, Version: change.Version}
	if change.Raised {
		note.Event = event.JSON()
	}
	if change.Raised && wasMember {
		notice.Event = note.Event
	}
	change.Notices = []Notice{notice}
	if err := g.changed(ctx, change); err != nil {
		return err
	}
	return g.tell(ctx, map[string]Note{event.User: note})
}

// Members lists members by user id; next is "" at the end.
func (g *Groups) Members(ctx context.Context, actor Actor, group, cursor string, limit int) (list []Membership, next string, err error) {
	if cursor != "" && !ValidID(cursor) {
		return nil, "", BadField("cursor", "is not one that this server gave")
	}
	if limit, err = listLimit(limit); err != nil {
		return nil, "", err
	}
	if _, err := g.enter(ctx, actor, group, ListMembers); err != nil {
		return nil, "", err
	}
	list, err = g.store.Members(ctx, group, cursor, limit+1)
	if err != nil {
		return nil, "", asStoreError(err, "list members of "+group)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].User
	}
	list, err = g.endedMutes(ctx, list)
	return list, next, err
}
