package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
)

const memberTag = "Members"

func (a *api) addMembers() {
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/join", id: "joinGroup", tag: memberTag, optionalBody: true,
		summary: "Join an open group",
		description: "Whoever is in already stays as he is. An app server names the `user`, and may put him into " +
			"any group. Over the group's `member_limit`: `too_large`.",
		errors: []domain.Code{domain.CodeForbidden, domain.CodeNotFound, domain.CodeGone},
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
		errors:      append([]domain.Code{domain.CodeConflict}, groupErrors...),
	}, a.removeMember)
	register(a, route{
		method: http.MethodPatch, path: "/v1/groups/{g}/members/{u}", id: "updateMember", tag: memberTag,
		summary: "Change a member's role, or mute him",
		description: "Roles are the owner's to give; `owner` hands the group over, and the former owner becomes an " +
			"admin. Owner and admins mute, admins neither admins nor the owner; nobody mutes himself. In a room also " +
			"who has not joined can be muted; a mute outlives leaving.",
		errors: append([]domain.Code{domain.CodeConflict}, groupErrors...),
	}, a.updateMember)
	register(a, route{
		method: http.MethodPut, path: "/v1/groups/{g}/blocked/{u}", id: "blockUser", tag: memberTag,
		summary: "Block a user",
		description: "For owner and admins; admins are blocked by the owner only, the owner by nobody. Who is in is " +
			"removed. Everything in this group answers him `forbidden` from then on.",
		errors: append([]domain.Code{domain.CodeConflict}, groupErrors...),
	}, a.blockUser)
	register(a, route{
		method: http.MethodDelete, path: "/v1/groups/{g}/blocked/{u}", id: "unblockUser", tag: memberTag,
		summary:     "Let a blocked user in again",
		description: "For owner and admins. He is not a member by it. Answers 204 also when he was not blocked.",
		errors:      groupErrors,
	}, a.unblockUser)
}

type member struct {
	User        string `json:"user"`
	Role        role   `json:"role"`
	JoinedMS    int64  `json:"joined_ms,omitempty" doc:"Left out for who is not in."`
	MuteUntilMS int64  `json:"mute_until_ms,omitempty" doc:"Left out when he is not muted; -1: for ever."`
}

// role is null for who is not in.
type role domain.Role

// MarshalJSON writes the role, or null.
func (r role) MarshalJSON() ([]byte, error) {
	if domain.Role(r) == domain.Outsider {
		return []byte("null"), nil
	}
	return json.Marshal(string(r))
}

// Schema makes the OpenAPI file show the roles.
func (role) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Nullable: true, Enum: []any{"owner", "admin", "member", nil},
		Description: "null for who is muted and not in.",
	}
}

type memberList struct {
	Members []member `json:"members" nullable:"false"`
	Cursor  string   `json:"cursor,omitempty" doc:"Where to go on; left out at the end."`
}

func memberOf(m domain.Membership) member {
	return member{User: m.User, Role: role(m.Role), JoinedMS: m.JoinedMS, MuteUntilMS: m.MuteUntilMS}
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
	Members []string `json:"members" nullable:"false" minItems:"1" maxItems:"500" doc:"Users; at most 500 a call."`
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

type memberChanges struct {
	Role   given[string] `json:"role,omitzero" enum:"owner,admin,member" doc:"owner hands the group over."`
	MuteMS given[int64]  `json:"mute_ms,omitzero" minimum:"-1" maximum:"4503599627370496" doc:"From now on; 0: not muted any more, -1: for ever."`
}

type updateMemberInput struct {
	Group string `path:"g"`
	User  string `path:"u"`
	withBody[memberChanges]
}

func (a *api) updateMember(ctx context.Context, in *updateMemberInput) (*answer[member], error) {
	c := in.body()
	patch := domain.MemberPatch{MuteMS: c.MuteMS.value}
	if c.Role.value != nil {
		if *c.Role.value == "" {
			return nil, domain.BadField("role", "must be owner, admin or member")
		}
		patch.Role = domain.Role(*c.Role.value)
	}
	m, err := a.Groups.UpdateMember(ctx, actorOf(ctx), in.Group, in.User, patch)
	if err != nil {
		return nil, err
	}
	return &answer[member]{Body: memberOf(*m)}, nil
}

func (a *api) blockUser(ctx context.Context, in *memberInput) (*none, error) {
	return noContent(a.Groups.Block(ctx, actorOf(ctx), in.Group, in.User))
}

func (a *api) unblockUser(ctx context.Context, in *memberInput) (*none, error) {
	return noContent(a.Groups.Unblock(ctx, actorOf(ctx), in.Group, in.User))
}
