package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
)

const groupTag = "Groups"

func (a *api) addGroups() {
	register(a, route{
		method: http.MethodPost, path: "/v1/groups", id: "createGroup", tag: groupTag, status: http.StatusCreated,
		summary: "Create a room or group",
		description: "A user becomes the owner. An app server names an `owner` or leaves the group without one. " +
			"Without `group` the server makes an id.",
		errors: []domain.Code{domain.CodeForbidden, domain.CodeRejected, domain.CodeConflict, domain.CodeGone},
	}, a.createGroup)
	register(a, route{
		method: http.MethodGet, path: "/v1/groups", id: "listGroups", tag: groupTag,
		summary: "List groups, by id",
		description: "A user's own; an app server's answer has all, or with `user` that user's. Rooms are listed " +
			"for those who joined them.",
		errors: []domain.Code{domain.CodeForbidden},
	}, a.listGroups)
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/{g}", id: "getGroup", tag: groupTag,
		summary:     "Show a group",
		description: "Rooms are shown to everybody, groups to their members.",
		errors:      groupErrors,
	}, a.getGroup)
	register(a, route{
		method: http.MethodPatch, path: "/v1/groups/{g}", id: "updateGroup", tag: groupTag,
		summary: "Change a group",
		description: "For its owner and admins. What is left out stays as it is. A `member_limit` below the present " +
			"count removes nobody; nobody can be added then.",
		errors: append([]domain.Code{domain.CodeRejected}, groupErrors...),
	}, a.updateGroup)
	register(a, route{
		method: http.MethodDelete, path: "/v1/groups/{g}", id: "dismissGroup", tag: groupTag,
		summary:     "Dismiss a group, for ever",
		description: "For its owner. From then on it answers `gone` to everything, and its id is never used again.",
		errors:      groupErrors,
	}, a.dismissGroup)
}

// groupErrors are those of every route about one group.
var groupErrors = []domain.Code{domain.CodeForbidden, domain.CodeNotMember, domain.CodeNotFound, domain.CodeGone}

// group is a group as answers show it.
type group struct {
	Group       string           `json:"group"`
	Type        domain.GroupType `json:"type" enum:"room,group,direct"`
	Name        string           `json:"name"`
	Avatar      string           `json:"avatar"`
	Join        string           `json:"join" enum:"open,invite,closed"`
	Owner       string           `json:"owner" doc:"Empty for a group without an owner."`
	Attributes  object           `json:"attributes"`
	Muted       bool             `json:"muted" doc:"Only the owner, admins and app servers may send."`
	MemberCount int              `json:"member_count"`
	Online      int              `json:"online" doc:"Users connected to it now: distinct on each instance, added up."`
	MaxSeq      int64            `json:"max_seq" doc:"The seq of the newest message; 0 before the first."`
	CreatedMS   int64            `json:"created_ms"`
}

func groupOf(v *domain.GroupView) group {
	g := group{
		Group: v.ID, Type: v.Type, Name: v.Name, Avatar: v.Avatar, Join: v.Join, Owner: v.Owner,
		Attributes: object(v.Attributes), Muted: v.Muted, MemberCount: v.MemberCount,
		Online: v.Online, MaxSeq: v.MaxSeq, CreatedMS: v.CreatedMS,
	}
	if len(g.Attributes) == 0 {
		g.Attributes = object("{}")
	}
	return g
}

// object is a JSON object of the caller's, taken and given back as it is.
type object json.RawMessage

// UnmarshalJSON keeps the bytes, which the decoder has checked.
func (o *object) UnmarshalJSON(data []byte) error {
	*o = bytes.Clone(data)
	return nil
}

// MarshalJSON gives them back.
func (o object) MarshalJSON() ([]byte, error) { return o, nil }

// Schema makes the OpenAPI file show an object of any content.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// compact refuses what is not an object and drops insignificant white space.
func (o object) compact(field string) (json.RawMessage, error) {
	if o == nil {
		return nil, nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, o); err != nil || out.Bytes()[0] != '{' {
		return nil, domain.BadField(field, "must be an object")
	}
	return out.Bytes(), nil
}

type newGroup struct {
	Group      string   `json:"group,omitempty" doc:"Its id; made by the server if left out." pattern:"^[A-Za-z0-9_.@#-]{1,64}$"`
	Type       string   `json:"type" enum:"room,group" doc:"A room is open to everybody; a group has members only."`
	Name       string   `json:"name" minLength:"1" maxLength:"256" doc:"At most 256 bytes."`
	Avatar     string   `json:"avatar,omitempty" maxLength:"2048" doc:"At most 2048 bytes."`
	Join       string   `json:"join,omitempty" enum:"open,invite,closed" doc:"How users become members: by joining (open), added by members as they may (invite), by app servers only (closed). Open by default for rooms, invite for groups. Says nothing of who reads and sends: a room is open for that."`
	Members    []string `json:"members,omitempty" nullable:"false" maxItems:"500" doc:"Users to begin with; at most 500."`
	Attributes object   `json:"attributes,omitempty" doc:"At most 4 KiB."`
	Owner      string   `json:"owner,omitempty" doc:"For app servers; a user may only name himself."`
}

type createGroupInput struct{ withBody[newGroup] }

func (a *api) createGroup(ctx context.Context, in *createGroupInput) (*created[group], error) {
	n := in.body()
	attributes, err := n.Attributes.compact("attributes")
	if err != nil {
		return nil, err
	}
	view, err := a.Groups.Create(ctx, actorOf(ctx), domain.NewGroup{
		ID: n.Group, Type: domain.GroupType(n.Type), Name: n.Name, Avatar: n.Avatar, Join: n.Join,
		Members: n.Members, Attributes: attributes, Owner: n.Owner,
	})
	if err != nil {
		return nil, err
	}
	return &created[group]{Status: http.StatusCreated, Location: groupPath(view.ID), Body: groupOf(view)}, nil
}

func groupPath(id string) string { return "/v1/groups/" + url.PathEscape(id) }

type groupInput struct {
	Group string `path:"g" doc:"Its id, or dm:<lower>:<higher>."`
}

func (a *api) getGroup(ctx context.Context, in *groupInput) (*answer[group], error) {
	view, err := a.Groups.Get(ctx, actorOf(ctx), in.Group)
	if err != nil {
		return nil, err
	}
	return &answer[group]{Body: groupOf(view)}, nil
}

type groupChanges struct {
	Name        given[string] `json:"name,omitzero" minLength:"1" maxLength:"256" doc:"At most 256 bytes."`
	Avatar      given[string] `json:"avatar,omitzero" maxLength:"2048" doc:"At most 2048 bytes."`
	Join        given[string] `json:"join,omitzero" enum:"open,invite,closed"`
	Muted       given[bool]   `json:"muted,omitzero" doc:"Only the owner, admins and app servers may send."`
	MemberLimit given[int64]  `json:"member_limit,omitzero" minimum:"1" maximum:"1000000"`
	Attributes  object        `json:"attributes,omitempty" doc:"At most 4 KiB; takes the place of the former ones."`
}

type updateGroupInput struct {
	Group string `path:"g"`
	withBody[groupChanges]
}

func (a *api) updateGroup(ctx context.Context, in *updateGroupInput) (*answer[group], error) {
	c := in.body()
	attributes, err := c.Attributes.compact("attributes")
	if err != nil {
		return nil, err
	}
	view, err := a.Groups.Update(ctx, actorOf(ctx), in.Group, domain.GroupPatch{
		Name: c.Name.value, Avatar: c.Avatar.value, Join: c.Join.value, Muted: c.Muted.value,
		MemberLimit: c.MemberLimit.value, Attributes: attributes,
	})
	if err != nil {
		return nil, err
	}
	return &answer[group]{Body: groupOf(view)}, nil
}

func (a *api) dismissGroup(ctx context.Context, in *groupInput) (*none, error) {
	return noContent(a.Groups.Dismiss(ctx, actorOf(ctx), in.Group))
}

type listGroupsInput struct {
	User   string  `query:"user" doc:"For app servers: whose groups."`
	Cursor string  `query:"cursor" doc:"From the answer before."`
	Limit  integer `query:"limit" minimum:"1" doc:"Default 50, at most 200."`
}

type groupList struct {
	Groups []group `json:"groups" nullable:"false"`
	Cursor string  `json:"cursor,omitempty" doc:"Where to go on; left out at the end."`
}

func (a *api) listGroups(ctx context.Context, in *listGroupsInput) (*answer[groupList], error) {
	actor, err := actingFor(ctx, "user", in.User)
	if err != nil {
		return nil, err
	}
	limit, err := in.Limit.limit()
	if err != nil {
		return nil, err
	}
	views, next, err := a.Groups.List(ctx, actor, in.Cursor, limit)
	if err != nil {
		return nil, err
	}
	list := groupList{Groups: make([]group, len(views)), Cursor: next}
	for i := range views {
		list.Groups[i] = groupOf(&views[i])
	}
	return &answer[groupList]{Body: list}, nil
}
