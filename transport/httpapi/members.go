package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
)

const memberTag = "Members"

func (a *api) addMembers() {
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/join", id: "joinGroup", tag: memberTag, optionalBody: true,
		summary: "Join an open group",
		description: "Whoever is in already stays as he is. An app server names the `user`, and may put him into " +
			"any group.",
		errors: groupErrors,
	}, a.joinGroup)
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/leave", id: "leaveGroup", tag: memberTag, optionalBody: true,
		summary:     "Leave a group",
		description: "An owner hands the group over first (`conflict`). An app server names the `user`.",
		errors:      append([]domain.Code{domain.CodeConflict}, groupErrors...),
	}, a.leaveGroup)
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/{g}/members", id: "listMembers", tag: memberTag,
		summary:     "List members, by user id",
		description: "A room's members are shown to everybody, a group's to members.",
		errors:      groupErrors,
	}, a.listMembers)
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/members", id: "addMembers", tag: memberTag,
		summary: "Add members",
		description: "Owner and admins, and members of rooms and open groups. Whoever is in already stays as he " +
			"is; over the group's `member_limit`: `too_large`.",
		errors: groupErrors,
	}, a.addGroupMembers)
	register(a, route{
		method: http.MethodDelete, path: "/v1/groups/{g}/members/{u}", id: "removeMember", tag: memberTag,
		summary:     "Remove a member",
		description: "Owner and admins; admins are removed by the owner only, the owner by nobody.",
		errors:      groupErrors,
	}, a.removeMember)
}

type member struct {
	User        string      `json:"user"`
	Role        domain.Role `json:"role" enum:"owner,admin,member"`
	JoinedMS    int64       `json:"joined_ms"`
	MuteUntilMS int64       `json:"mute_until_ms,omitempty" doc:"Left out when he is not muted; -1: for ever."`
}

type memberList struct {
	Members []member `json:"members" nullable:"false"`
	Cursor  string   `json:"cursor,omitempty" doc:"Where to go on; left out at the end."`
}

func memberOf(m domain.Membership) member {
	return member{User: m.User, Role: m.Role, JoinedMS: m.JoinedMS, MuteUntilMS: m.MuteUntilMS}
}

func membersOf(list []domain.Membership) memberList {
	out := memberList{Members: make([]member, len(list))}
	for i, m := range list {
		out.Members[i] = memberOf(m)
	}
	return out
}

// who is the body of what a user does for himself.
type who struct {
	User string `json:"user,omitempty" doc:"For app servers: who. A user may only name himself."`
}

type whoInput struct {
	Group string `path:"g"`
	withBody[who]
}

func (a *api) joinGroup(ctx context.Context, in *whoInput) (*answer[member], error) {
	actor, err := actingFor(ctx, "user", in.body().User)
	if err != nil {
		return nil, err
	}
	joined, err := a.Groups.Join(ctx, actor, in.Group)
	if err != nil {
		return nil, err
	}
	return &answer[member]{Body: memberOf(*joined)}, nil
}

func (a *api) leaveGroup(ctx context.Context, in *whoInput) (*none, error) {
	actor, err := actingFor(ctx, "user", in.body().User)
	if err != nil {
		return nil, err
	}
	return noContent(a.Groups.Leave(ctx, actor, in.Group))
}

type listMembersInput struct {
	Group  string  `path:"g"`
	Cursor string  `query:"cursor" doc:"From the answer before."`
	Limit  integer `query:"limit" minimum:"1" doc:"Default 50, at most 200."`
}

func (a *api) listMembers(ctx context.Context, in *listMembersInput) (*answer[memberList], error) {
	limit, err := in.Limit.limit()
	if err != nil {
		return nil, err
	}
	list, next, err := a.Groups.Members(ctx, actorOf(ctx), in.Group, in.Cursor, limit)
	if err != nil {
		return nil, err
	}
	out := membersOf(list)
	out.Cursor = next
	return &answer[memberList]{Body: out}, nil
}

type newMembers struct {
	Members []string `json:"members" nullable:"false" doc:"Users; at most 500 a call."`
}

type addMembersInput struct {
	Group string `path:"g"`
	withBody[newMembers]
}

func (a *api) addGroupMembers(ctx context.Context, in *addMembersInput) (*answer[memberList], error) {
	list, err := a.Groups.AddMembers(ctx, actorOf(ctx), in.Group, in.body().Members)
	if err != nil {
		return nil, err
	}
	return &answer[memberList]{Body: membersOf(list)}, nil
}

type memberInput struct {
	Group string `path:"g"`
	User  string `path:"u"`
}

func (a *api) removeMember(ctx context.Context, in *memberInput) (*none, error) {
	return noContent(a.Groups.RemoveMember(ctx, actorOf(ctx), in.Group, in.User))
}
