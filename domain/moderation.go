package domain

import (
	"context"
	"encoding/json"
	"fmt"
)

// maxMuteMS bounds a mute, so that its end is a number that every client can hold.
const maxMuteMS = 1 << 52

// GroupPatch is what is to change of a group; what is nil stays.
type GroupPatch struct {
	Name        *string
	Avatar      *string
	Join        *string
	Muted       *bool
	MemberLimit *int64
	Attributes  json.RawMessage
}

func (p GroupPatch) check() error {
	switch {
	case p.Join != nil && !validJoin(*p.Join):
		return BadField("join", "must be open, invite or closed")
	case p.Name != nil && *p.Name == "":
		return BadField("name", "is required")
	case p.Name != nil && len(*p.Name) > MaxNameBytes:
		return TooLarge("name", "at most %d bytes", MaxNameBytes)
	case p.Avatar != nil && len(*p.Avatar) > MaxURLBytes:
		return TooLarge("avatar", "at most %d bytes", MaxURLBytes)
	case p.MemberLimit != nil && (*p.MemberLimit < 1 || *p.MemberLimit > MaxMemberLimit):
		return BadField("member_limit", "must be from 1 to %d", MaxMemberLimit)
	case len(p.Attributes) > MaxAttributeBytes:
		return TooLarge("attributes", "at most %d bytes", MaxAttributeBytes)
	}
	return nil
}

func (p GroupPatch) isEmpty() bool {
	return p.Name == nil && p.Avatar == nil && p.Join == nil && p.Muted == nil && p.MemberLimit == nil && p.Attributes == nil
}

func (p GroupPatch) apply(g *Group) {
	set(&g.Name, p.Name)
	set(&g.Avatar, p.Avatar)
	set(&g.Join, p.Join)
	set(&g.Muted, p.Muted)
	if p.MemberLimit != nil {
		g.MemberLimit = int(*p.MemberLimit)
	}
	if p.Attributes != nil {
		g.Attributes = p.Attributes
	}
}

func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// Update changes a group. A member_limit below the present count removes nobody.
func (g *Groups) Update(ctx context.Context, actor Actor, group string, p GroupPatch) (*GroupView, error) {
	if p.isEmpty() {
		return nil, Errorf(CodeBadRequest, "at least one field is required")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if _, err := g.enter(ctx, actor, group, ChangeGroup); err != nil {
		return nil, err
	}
	if err := g.checkName(actor, p.Name); err != nil {
		return nil, err
	}
	event := g.event(actor, group, ChangeUpdated, "")
	change, err := g.store.Update(ctx, group, p.apply, func(c *GroupChange) {
		if c.Raised {
			c.Events = []GroupEvent{event}
			c.Notices = []Notice{{Event: event.JSON()}}
		}
	})
	if err != nil {
		return nil, asStoreError(err, "update "+group)
	}
	if err := g.bring(ctx, change); err != nil {
		return nil, err
	}
	return g.view(ctx, &change.Group)
}

// MemberPatch is what is to change of a user's place.
type MemberPatch struct {
	Role   Role   // Owner, Admin or Member; Outsider: stays
	MuteMS *int64 // from now on; 0: not muted any more; MuteForever; nil: stays
}

func (p MemberPatch) check() error {
	switch {
	case p.Role == Outsider && p.MuteMS == nil:
		return Errorf(CodeBadRequest, "role or mute_ms is required")
	case p.Role != Outsider && p.Role != Owner && p.Role != Admin && p.Role != Member:
		return BadField("role", "must be owner, admin or member")
	case p.MuteMS != nil && (*p.MuteMS < MuteForever || *p.MuteMS > maxMuteMS):
		return BadField("mute_ms", "must be -1, 0, or from 1 to %d", int64(maxMuteMS))
	}
	return nil
}

// UpdateMember changes a member's role or mutes him. Muted may be whoever could speak, so also a room's outsider, and
// unmuted whoever was muted, though he has left. Making somebody owner hands the group over.
func (g *Groups) UpdateMember(ctx context.Context, actor Actor, group, user string, p MemberPatch) (*Membership, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var until int64
	if p.MuteMS != nil {
		var err error
		if until, err = g.muteUntil(ctx, *p.MuteMS); err != nil {
			return nil, err
		}
	}
	c, err := g.changeMember(ctx, actor, group, user, func(got *Group, mine, his Membership) (Membership, error) {
		if err := p.allow(actor, got, mine, his); err != nil {
			return his, err
		}
		if p.Role != Outsider {
			his.Role = p.Role
		}
		switch {
		case p.MuteMS != nil:
			his.MuteUntilMS = until
		case p.Role == Owner:
			his.MuteUntilMS = 0 // nobody in the group could take it from him
		}
		return his, nil
	}, func(c memberChange) { g.tellMember(actor, c) })
	if err != nil {
		return nil, err
	}
	if err := g.bring(ctx, c.GroupChange); err != nil {
		return nil, err
	}
	list, err := g.endedMutes(ctx, []Membership{c.is})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// tellMember tells the group of roles and of a mute that changed.
func (g *Groups) tellMember(actor Actor, c memberChange) {
	for _, m := range c.Put { // also of who was owner before
		if m.Role.IsMember() && (m.User != c.is.User || m.Role != c.was.Role) {
			e := g.event(actor, c.ID, ChangeRole, m.User)
			e.Role = m.Role
			c.Events = append(c.Events, e)
		}
	}
	if c.is.MuteUntilMS != c.was.MuteUntilMS {
		e := g.event(actor, c.ID, ChangeMuted, c.is.User)
		e.MuteUntilMS = &c.is.MuteUntilMS
		c.Events = append(c.Events, e)
	}
	for _, e := range c.Events {
		c.Notices = append(c.Notices, Notice{Event: e.JSON(), Except: ExceptUser(e.User)})
	}
}

func (p MemberPatch) allow(actor Actor, got *Group, mine, his Membership) error {
	if p.Role != Outsider {
		if err := Allow(actor, ChangeRoles, got.Type, got.Join, mine.Role); err != nil {
			return err
		}
		if !his.Role.IsMember() {
			return errNotIn()
		}
		if p.Role != his.Role {
			if err := AllowOver(actor, ChangeRoles, mine.Role, his.Role); err != nil {
				return err
			}
		}
	}
	if p.MuteMS == nil {
		return nil
	}
	if err := Allow(actor, MuteMembers, got.Type, got.Join, mine.Role); err != nil {
		return err
	}
	if speaks := his.Role.IsMember() || his.Role == Outsider && (got.Type == Room || his.MuteUntilMS != 0); !speaks {
		return errNotIn()
	}
	return AllowOver(actor, MuteMembers, mine.Role, his.Role)
}

func errNotIn() error { return Errorf(CodeNotFound, "this user is not a member") }

func (g *Groups) muteUntil(ctx context.Context, ms int64) (int64, error) {
	if ms <= 0 {
		return ms, nil
	}
	now, err := g.nowMS(ctx)
	return now + ms, err
}

func (g *Groups) nowMS(ctx context.Context) (int64, error) {
	now, err := g.cache.NowMS(ctx)
	if err != nil {
		return 0, Unavailable(fmt.Errorf("time of a mute: %w", err), "Redis")
	}
	return now, nil
}

// endedMutes leaves out mutes that are over. Redis' clock is asked only if one may be.
func (g *Groups) endedMutes(ctx context.Context, list []Membership) ([]Membership, error) {
	var now int64
	for i := range list {
		m := &list[i]
		if m.MuteUntilMS <= 0 {
			continue
		}
		if now == 0 {
			var err error
			if now, err = g.nowMS(ctx); err != nil {
				return nil, err
			}
		}
		if m.MuteUntilMS <= now {
			m.MuteUntilMS = 0
		}
	}
	return list, nil
}

// Block keeps a user out, and takes him out if he is in or watches.
func (g *Groups) Block(ctx context.Context, actor Actor, group, user string) error {
	c, err := g.changeMember(ctx, actor, group, user, func(got *Group, mine, his Membership) (Membership, error) {
		err := Allow(actor, BlockUsers, got.Type, got.Join, mine.Role)
		if err == nil {
			err = AllowOver(actor, BlockUsers, mine.Role, his.Role)
		}
		his.Role, his.JoinedMS = BlockedIn, 0
		return his, err
	}, func(c memberChange) {
		tellGone(c.GroupChange, g.event(actor, group, ChangeRemoved, user), c.was.Role.IsMember())
	})
	if err != nil {
		return err
	}
	return g.bring(ctx, c.GroupChange)
}

// Unblock lets a user in again; a member he is not by it.
func (g *Groups) Unblock(ctx context.Context, actor Actor, group, user string) error {
	c, err := g.changeMember(ctx, actor, group, user, func(got *Group, mine, his Membership) (Membership, error) {
		if his.Role == BlockedIn {
			his.Role = Outsider
		}
		return his, Allow(actor, BlockUsers, got.Type, got.Join, mine.Role)
	}, func(memberChange) {})
	if err != nil {
		return err
	}
	return g.bring(ctx, c.GroupChange)
}

// memberChange is a change of one user's place.
type memberChange struct {
	*GroupChange
	was, is Membership
}

// changeMember asks and decides in one transaction: who asks may lose his role at the same moment.
func (g *Groups) changeMember(
	ctx context.Context, actor Actor, group, user string, decide Decide, tell func(c memberChange),
) (c memberChange, err error) {
	if err := CheckUser("user", user); err != nil {
		return c, err
	}
	if err := CheckGroup("group", group); err != nil {
		return c, err
	}
	if _, err := g.live(ctx, group); err != nil {
		return c, err
	}
	c.GroupChange, err = g.store.ChangeMember(ctx, group, actor.User, user, func(got *Group, mine, his Membership) (is Membership, err error) {
		his.User = user // who has no place has no name either
		c.was = his
		c.is, err = decide(got, mine, his)
		return c.is, err
	}, func(change *GroupChange) { tell(memberChange{change, c.was, c.is}) })
	if err != nil {
		return c, asStoreError(err, "change a member of "+group)
	}
	return c, nil
}
