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
	_, err := g.takeOut(ctx, asUser, group, actor.User, g.event(actor, group, ChangeLeft, actor.User), func(got *Group, _, his Membership) error {
		return Allow(asUser, Leave, got.Type, got.Join, his.Role)
	})
	return err
}

// RemoveMember takes somebody out: not the owner, and admins only by the owner or an app server.
func (g *Groups) RemoveMember(ctx context.Context, actor Actor, group, user string) error {
	was, err := g.takeOut(ctx, actor, group, user, g.event(actor, group, ChangeRemoved, user), func(got *Group, mine, his Membership) error {
		err := Allow(actor, RemoveMembers, got.Type, got.Join, mine.Role)
		if err == nil && his.Role.IsMember() {
			err = AllowOver(actor, RemoveMembers, mine.Role, his.Role)
		}
		return err
	})
	if err == nil && !was.Role.IsMember() {
		return errNotIn() // Redis was told all the same, if a former removal did not get there
	}
	return err
}

// takeOut ends a membership and its subscriptions. Whether it may be is asked in the transaction: who is to go may be made
// the owner at the same moment. The event is told only if the user was in.
func (g *Groups) takeOut(
	ctx context.Context, actor Actor, group, user string, event GroupEvent, allow func(got *Group, mine, his Membership) error,
) (was Membership, err error) {
	c, err := g.changeMember(ctx, actor, group, user, func(got *Group, mine, his Membership) (Membership, error) {
		err := allow(got, mine, his)
		if his.Role.IsMember() {
			his.Role = Outsider
		}
		return his, err
	}, func(c memberChange) { tellGone(c.GroupChange, event, true) })
	if err != nil {
		return c.was, err
	}
	return c.was, g.bring(ctx, c.GroupChange)
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
