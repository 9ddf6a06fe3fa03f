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
	change, err := g.store.AddMembers(ctx, group, users, head.MaxSeq, func(c *GroupChange) {
		c.Notes = make(map[string]Note, len(users))
		for _, user := range users { // also who was in before: a former call may not have got so far
			c.Notes[user] = Note{Kind: NoteJoined, Group: group, After: head.MaxSeq, Version: c.Version}
		}
		for _, user := range c.Joined {
			event := g.event(actor, group, ChangeJoined, user)
			c.Events = append(c.Events, event)
			c.Notices = append(c.Notices, Notice{Event: event.JSON(), Came: user, Version: c.Version})
			c.Notes[user] = Note{Kind: NoteJoined, Group: group, After: head.MaxSeq, Version: c.Version, Event: event.JSON()}
		}
	})
	if err != nil {
		return nil, asStoreError(err, "add members to "+group)
	}
	if err := g.bring(ctx, change); err != nil {
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
	change, err := g.store.RemoveMember(ctx, group, user, func(c *GroupChange) { tellGone(c, event, true) })
	if err != nil {
		return asStoreError(err, "remove member of "+group)
	}
	return g.bring(ctx, change)
}

// tellGone ends the subscriptions of the user whom the event names. He is told it if he was taken out just now, and so is
// the group if he was a member.
func tellGone(c *GroupChange, event GroupEvent, wasMember bool) {
	notice := Notice{Gone: event.User, Version: c.Version}
	note := Note{Kind: NoteLeft, Group: c.ID, Version: c.Version}
	if c.Raised {
		note.Event = event.JSON()
	}
	if c.Raised && wasMember {
		notice.Event = note.Event
		c.Events = []GroupEvent{event}
	}
	c.Notices = []Notice{notice}
	c.Notes = map[string]Note{event.User: note}
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
