package domain_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestCreateFillsInDefaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor   domain.Actor
		n       domain.NewGroup
		want    domain.Group
		members string
	}{
		"a user's room": {
			user("ann"),
			domain.NewGroup{Type: domain.Room, Name: "R"},
			domain.Group{ID: "made-1", Type: domain.Room, Name: "R", Join: domain.JoinOpen, Owner: "ann"},
			"ann:owner",
		},
		"a user's group": {
			user("ann"),
			domain.NewGroup{ID: "g", Type: domain.Private, Name: "G", Owner: "ann", Members: []string{"bob"}},
			domain.Group{ID: "g", Type: domain.Private, Name: "G", Join: domain.JoinInvite, Owner: "ann"},
			"ann:owner bob:member",
		},
		"a join that was asked for": {
			user("ann"),
			domain.NewGroup{ID: "g", Type: domain.Private, Name: "G", Join: domain.JoinOpen},
			domain.Group{ID: "g", Type: domain.Private, Name: "G", Join: domain.JoinOpen, Owner: "ann"},
			"ann:owner",
		},
		"an app server's has no owner": {
			server,
			domain.NewGroup{ID: "g", Type: domain.Room, Name: "G", Members: []string{"bob"}},
			domain.Group{ID: "g", Type: domain.Room, Name: "G", Join: domain.JoinOpen},
			"bob:member",
		},
		"an app server names the owner": {
			server,
			domain.NewGroup{ID: "g", Type: domain.Room, Name: "G", Owner: "bob"},
			domain.Group{ID: "g", Type: domain.Room, Name: "G", Join: domain.JoinOpen, Owner: "bob"},
			"bob:owner",
		},
		"members twice, and the owner among them": {
			user("ann"),
			domain.NewGroup{ID: "g", Type: domain.Private, Name: "G", Members: []string{"bob", "ann", "bob", "al"}},
			domain.Group{ID: "g", Type: domain.Private, Name: "G", Join: domain.JoinInvite, Owner: "ann"},
			"al:member ann:owner bob:member",
		},
		"avatar and attributes": {
			user("ann"),
			domain.NewGroup{ID: "g", Type: domain.Room, Name: "G", Avatar: "/a.png", Attributes: json.RawMessage(`{"a":1}`)},
			domain.Group{ID: "g", Type: domain.Room, Name: "G", Join: domain.JoinOpen, Owner: "ann", Avatar: "/a.png", Attributes: json.RawMessage(`{"a":1}`)},
			"ann:owner",
		},
	} {
		w := newWorld()
		got, err := w.groups.Create(ctx, c.actor, c.n)
		require.NoError(t, err, name)
		c.want.MemberLimit, c.want.MemberCount = 100_000, strings.Count(c.members, ":")
		c.want.Version, c.want.CreatedMS = 1, timeOf(0)
		if diff := cmp.Diff(&domain.GroupView{Group: c.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		require.Equal(t, c.members, membersOf(w, c.want.ID), name)
		require.Empty(t, w.redis.changes, "%s: Redis loads it when somebody comes", name)
	}
}

// membersOf is everybody's place in a group, as MySQL has it.
func membersOf(w *world, group string) string {
	var all []string
	for _, m := range w.mysql.sortedMembers(group) {
		all = append(all, m.User+":"+string(m.Role))
	}
	return strings.Join(all, " ")
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(n *domain.NewGroup)
		code   domain.Code
		field  string
	}{
		"an id that is none":       {func(n *domain.NewGroup) { n.ID = "a b" }, domain.CodeBadRequest, "group"},
		"hot":                      {func(n *domain.NewGroup) { n.ID = "hot" }, domain.CodeBadRequest, "group"},
		"a direct conversation":    {func(n *domain.NewGroup) { n.ID = "dm:ann:bob" }, domain.CodeBadRequest, "group"},
		"type direct":              {func(n *domain.NewGroup) { n.Type = domain.Direct }, domain.CodeBadRequest, "type"},
		"no type":                  {func(n *domain.NewGroup) { n.Type = "" }, domain.CodeBadRequest, "type"},
		"an unknown join":          {func(n *domain.NewGroup) { n.Join = "shut" }, domain.CodeBadRequest, "join"},
		"no name":                  {func(n *domain.NewGroup) { n.Name = "" }, domain.CodeBadRequest, "name"},
		"a long name":              {func(n *domain.NewGroup) { n.Name = strings.Repeat("n", 257) }, domain.CodeTooLarge, "name"},
		"a long avatar":            {func(n *domain.NewGroup) { n.Avatar = strings.Repeat("n", 2049) }, domain.CodeTooLarge, "avatar"},
		"large attributes":         {func(n *domain.NewGroup) { n.Attributes = make([]byte, 4097) }, domain.CodeTooLarge, "attributes"},
		"another owner":            {func(n *domain.NewGroup) { n.Owner = "bob" }, domain.CodeForbidden, "owner"},
		"too many members":         {func(n *domain.NewGroup) { n.Members = make([]string, 501) }, domain.CodeTooLarge, "members"},
		"a member that is no user": {func(n *domain.NewGroup) { n.Members = []string{"bob", "system"} }, domain.CodeBadRequest, "members[1]"},
		"an id in use":             {func(n *domain.NewGroup) { n.ID = "used" }, domain.CodeConflict, ""},
		"an id that was in use":    {func(n *domain.NewGroup) { n.ID = "gone" }, domain.CodeGone, ""},
	} {
		w := newWorld()
		w.add(domain.Group{ID: "used", Type: domain.Room})
		w.add(domain.Group{ID: "gone", Type: domain.Room, Dismissed: true})
		n := domain.NewGroup{ID: "g", Type: domain.Room, Name: "G"}
		c.change(&n)
		_, err := w.groups.Create(ctx, user("ann"), n)
		require.Error(t, err, name)
		requireCode(t, err, c.code, c.field)
		require.Empty(t, w.redis.changes, name)
	}
	_, err := newWorld().groups.Create(ctx, server, domain.NewGroup{ID: "g", Type: domain.Room, Name: "G", Owner: "system"})
	requireCode(t, err, domain.CodeBadRequest, "owner")
}

// clubWorld has an open room and a group by invitation, each with an owner, two admins, two members and eve, who
// is blocked.
func clubWorld() *world {
	w := newWorld()
	for id, typ := range map[string]domain.GroupType{"room": domain.Room, "club": domain.Private} {
		w.add(domain.Group{ID: id, Type: typ, Name: "the " + id, Owner: "owner"},
			as(domain.Owner, "owner"), as(domain.Admin, "adam"), as(domain.Admin, "ada"),
			as(domain.Member, "mia"), as(domain.Member, "max"), as(domain.BlockedIn, "eve"))
		w.seed(id, 42, 42)
	}
	w.add(domain.Group{ID: "gone", Type: domain.Room, Dismissed: true}, as(domain.Owner, "owner"))
	w.add(domain.Group{ID: "dm:ann:bob", Type: domain.Direct}, as(domain.Member, "ann"), as(domain.Member, "bob"))
	return w
}

func onBehalf(id string) domain.Actor { return domain.Actor{User: id, Key: "backend-1"} }

func TestJoin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		group string
		want  string // the role, or why not
	}{
		{user("zoe"), "room", "member"},
		{user("mia"), "room", "member"},
		{user("adam"), "room", "admin"},
		{user("owner"), "room", "owner"},
		{user("eve"), "room", "forbidden"},
		{onBehalf("eve"), "room", "forbidden"},
		{user("zoe"), "club", "forbidden"},
		{user("mia"), "club", "member"},
		{onBehalf("zoe"), "club", "member"},
		{user("zoe"), "gone", "gone"},
		{user("zoe"), "nowhere", "not_found"},
		{user("zoe"), "a:b", "bad_request"},
		{user("zoe"), "dm:ann:bob", "forbidden"},
		{onBehalf("zoe"), "dm:ann:bob", "forbidden"},
		{server, "room", "bad_request"},
	} {
		w := clubWorld()
		before := membersOf(w, c.group)
		m, err := w.groups.Join(ctx, c.actor, c.group)
		if err != nil {
			require.Equal(t, c.want, verdict(err), "%+v joins %s", c.actor, c.group)
			require.Equal(t, before, membersOf(w, c.group))
			continue
		}
		require.Equal(t, as(domain.Role(c.want), c.actor.User), *m, "%+v joins %s", c.actor, c.group)
		if m.User != "zoe" {
			require.Equal(t, before, membersOf(w, c.group), "who is in stays as he is")
			require.Empty(t, w.redis.changes)
			continue
		}
		require.Equal(t, []string{"zoe"}, w.redis.changes[0].Joined, "Redis is told")
		require.Equal(t, int64(42), w.mysql.reads[domain.GroupUser{Group: c.group, User: "zoe"}], "read_seq is max_seq")
	}
}

func TestAddMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		group string
		want  string
	}{
		{user("owner"), "club", "ok"},
		{user("adam"), "club", "ok"},
		{user("mia"), "club", "forbidden"},
		{user("zoe"), "club", "not_member"},
		{user("eve"), "club", "forbidden"},
		{user("mia"), "room", "ok"},
		{user("zoe"), "room", "not_member"},
		{server, "club", "ok"},
		{server, "gone", "gone"},
		{server, "nowhere", "not_found"},
		{user("ann"), "dm:ann:bob", "forbidden"},
		{server, "dm:ann:bob", "forbidden"},
	} {
		w := clubWorld()
		got, err := w.groups.AddMembers(ctx, c.actor, c.group, []string{"zoe", "adam", "zoe", "bea"})
		require.Equal(t, c.want, verdict(err), "%+v adds to %s", c.actor, c.group)
		if err == nil {
			require.Equal(t, []domain.Membership{as(domain.Admin, "adam"), as(domain.Member, "bea"), as(domain.Member, "zoe")}, got)
			require.Equal(t, []string{"bea", "zoe"}, w.redis.changes[0].Joined)
		}
	}
}

func TestAddMembersRefuses(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	for _, c := range []struct {
		users []string
		code  domain.Code
		field string
	}{
		{nil, domain.CodeBadRequest, "members"},
		{make([]string, 501), domain.CodeTooLarge, "members"},
		{[]string{"zoe", "z z"}, domain.CodeBadRequest, "members[1]"},
		{[]string{"system"}, domain.CodeBadRequest, "members[0]"},
		{[]string{"zoe", "eve"}, domain.CodeForbidden, ""}, // eve is blocked
	} {
		_, err := w.groups.AddMembers(ctx, user("owner"), "club", c.users)
		requireCode(t, err, c.code, c.field)
	}
	var users []string
	for i := range 500 {
		users = append(users, fmt.Sprint("u", i))
	}
	got, err := w.groups.AddMembers(ctx, user("owner"), "club", users)
	require.NoError(t, err)
	require.Len(t, got, 500)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		group string
		want  string
	}{
		{user("mia"), "club", "ok"},
		{user("adam"), "club", "ok"},
		{user("owner"), "club", "conflict"},
		{onBehalf("owner"), "club", "conflict"},
		{onBehalf("mia"), "club", "ok"},
		{user("zoe"), "club", "not_member"},
		{user("zoe"), "room", "not_member"},
		{user("eve"), "club", "forbidden"}, // leaving does not end a block
		{server, "club", "bad_request"},
		{user("owner"), "gone", "gone"},
		{user("mia"), "nowhere", "not_found"},
	} {
		w := clubWorld()
		before := membersOf(w, c.group)
		require.Equal(t, c.want, verdict(w.groups.Leave(ctx, c.actor, c.group)), "%+v leaves %s", c.actor, c.group)
		if c.want == "ok" {
			require.NotContains(t, membersOf(w, c.group), c.actor.User)
			require.Equal(t, []string{c.actor.User}, w.redis.changes[0].Removed)
		} else {
			require.Equal(t, before, membersOf(w, c.group))
		}
	}
}

func TestRemoveMember(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		user  string
		want  string
	}{
		{user("owner"), "mia", "ok"},
		{user("owner"), "adam", "ok"},
		{user("owner"), "owner", "forbidden"},
		{user("adam"), "mia", "ok"},
		{user("adam"), "ada", "forbidden"},
		{user("adam"), "adam", "forbidden"}, // he leaves
		{user("adam"), "owner", "forbidden"},
		{user("mia"), "max", "forbidden"},
		{user("mia"), "mia", "forbidden"},
		{user("zoe"), "mia", "not_member"},
		{user("eve"), "mia", "forbidden"},
		{user("owner"), "zoe", "not_found"},
		{user("owner"), "eve", "not_found"}, // a block is not a membership
		{server, "mia", "ok"},
		{server, "adam", "ok"},
		{server, "zoe", "not_found"},
		{user("owner"), "system", "bad_request"},
		{user("owner"), "a b", "bad_request"},
	} {
		for _, group := range []string{"room", "club"} {
			w := clubWorld()
			before := membersOf(w, group)
			require.Equal(t, c.want, verdict(w.groups.RemoveMember(ctx, c.actor, group, c.user)), "%+v removes %s from %s", c.actor, c.user, group)
			if c.want == "ok" {
				require.NotContains(t, membersOf(w, group), c.user)
				require.Equal(t, []string{c.user}, w.redis.changes[0].Removed)
			} else {
				require.Equal(t, before, membersOf(w, group))
			}
		}
	}
	require.Equal(t, "gone", verdict(clubWorld().groups.RemoveMember(ctx, server, "gone", "owner")))
}

func TestADismissedGroupIsGoneForEver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		want  string
	}{
		{user("owner"), "ok"}, {server, "ok"}, {user("adam"), "forbidden"}, {user("mia"), "forbidden"}, {user("zoe"), "not_member"},
	} {
		w := clubWorld()
		require.Equal(t, c.want, verdict(w.groups.Dismiss(ctx, c.actor, "room")), "%+v", c.actor)
		if c.want != "ok" {
			continue
		}
		require.True(t, w.redis.changes[0].Dismissed, "Redis is told")
		_, getErr := w.groups.Get(ctx, user("owner"), "room")
		_, joinErr := w.groups.Join(ctx, user("zoe"), "room")
		_, addErr := w.groups.AddMembers(ctx, server, "room", []string{"zoe"})
		_, _, listErr := w.groups.Members(ctx, server, "room", "", 0)
		_, _, pullErr := w.history.Pull(ctx, user("mia"), domain.PullQuery{Group: "room"})
		_, createErr := w.groups.Create(ctx, server, domain.NewGroup{ID: "room", Type: domain.Room, Name: "again"})
		for what, err := range map[string]error{
			"get": getErr, "join": joinErr, "add": addErr, "list members": listErr, "pull": pullErr, "create": createErr,
			"leave":   w.groups.Leave(ctx, user("mia"), "room"),
			"remove":  w.groups.RemoveMember(ctx, server, "room", "mia"),
			"dismiss": w.groups.Dismiss(ctx, server, "room"),
		} {
			require.Equal(t, "gone", verdict(err), what)
		}
	}
}

func TestGetShowsRoomsToEverybodyAndGroupsToMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		group string
		want  string
	}{
		{user("mia"), "club", "ok"},
		{user("zoe"), "club", "not_member"},
		{user("zoe"), "room", "ok"},
		{user("eve"), "room", "forbidden"},
		{server, "club", "ok"},
		{user("zoe"), "nowhere", "not_found"},
		{user("zoe"), "hot", "bad_request"},
	} {
		got, err := clubWorld().groups.Get(ctx, c.actor, c.group)
		require.Equal(t, c.want, verdict(err), "%+v gets %s", c.actor, c.group)
		if err == nil {
			require.Equal(t, []any{c.group, int64(42)}, []any{got.ID, got.MaxSeq})
		}
	}
}

func TestListsPageThroughEverythingOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var ids, mine []string
	for i := range 23 {
		id := fmt.Sprintf("g%02d", i)
		ids = append(ids, id)
		if i%2 == 0 {
			mine = append(mine, id)
			w.add(domain.Group{ID: id, Type: domain.Private}, as(domain.Member, "ann"))
		} else {
			w.add(domain.Group{ID: id, Type: domain.Private}, as(domain.BlockedIn, "ann"))
		}
		w.seed(id, int64(i), int64(i))
	}
	for name, c := range map[string]struct {
		actor domain.Actor
		want  []string
	}{
		"a user's":         {user("ann"), mine},
		"all, for servers": {server, ids},
		"on behalf":        {onBehalf("ann"), mine},
		"nobody's":         {user("bob"), nil},
	} {
		var got []string
		for cursor, first := "", true; first || cursor != ""; first = false {
			views, next, err := w.groups.List(ctx, c.actor, cursor, 4)
			require.NoError(t, err)
			require.LessOrEqual(t, len(views), 4)
			for _, v := range views {
				require.Equal(t, fmt.Sprintf("g%02d", v.MaxSeq), v.ID, "each with its own head")
				got = append(got, v.ID)
			}
			cursor = next
		}
		require.Equal(t, c.want, got, name)
	}
}

func TestMembersPageThroughEverybodyOnce(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	var got []string
	for cursor, first := "", true; first || cursor != ""; first = false {
		list, next, err := w.groups.Members(ctx, user("mia"), "club", cursor, 2)
		require.NoError(t, err)
		for _, m := range list {
			got = append(got, m.User)
		}
		cursor = next
	}
	require.Equal(t, []string{"ada", "adam", "max", "mia", "owner"}, got)
	for who, want := range map[string]string{"zoe": "not_member", "eve": "forbidden", "mia": "ok"} {
		_, _, err := w.groups.Members(ctx, user(who), "club", "", 0)
		require.Equal(t, want, verdict(err), who)
	}
	_, _, err := w.groups.Members(ctx, user("zoe"), "room", "", 0)
	require.NoError(t, err, "outsiders may list a room's members")
}

func TestListsRefuse(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	_, _, err := w.groups.List(ctx, user("mia"), "a b", 0)
	requireCode(t, err, domain.CodeBadRequest, "cursor")
	_, _, err = w.groups.List(ctx, user("mia"), "", -1)
	requireCode(t, err, domain.CodeBadRequest, "limit")
	_, _, err = w.groups.Members(ctx, user("mia"), "club", "a b", 0)
	requireCode(t, err, domain.CodeBadRequest, "cursor")
	_, _, err = w.groups.Members(ctx, user("mia"), "club", "", -1)
	requireCode(t, err, domain.CodeBadRequest, "limit")
}

// groupCalls is every use case of groups, done in a way that succeeds in clubWorld.
var groupCalls = map[string]func(w *world) error{
	"create": func(w *world) error {
		_, err := w.groups.Create(ctx, server, domain.NewGroup{ID: "new", Type: domain.Room, Name: "N"})
		return err
	},
	"get":     func(w *world) error { _, err := w.groups.Get(ctx, user("mia"), "club"); return err },
	"list":    func(w *world) error { _, _, err := w.groups.List(ctx, user("mia"), "", 0); return err },
	"join":    func(w *world) error { _, err := w.groups.Join(ctx, user("zoe"), "room"); return err },
	"add":     func(w *world) error { _, err := w.groups.AddMembers(ctx, server, "club", []string{"zoe"}); return err },
	"leave":   func(w *world) error { return w.groups.Leave(ctx, user("mia"), "club") },
	"remove":  func(w *world) error { return w.groups.RemoveMember(ctx, server, "club", "mia") },
	"dismiss": func(w *world) error { return w.groups.Dismiss(ctx, server, "club") },
	"update":  func(w *world) error { return update(w, server, "club", domain.GroupPatch{Name: new("New")}) },
	"mute": func(w *world) error {
		return updateMember(w, server, "club", "mia", domain.MemberPatch{MuteMS: new(int64(5))})
	},
	"block":   func(w *world) error { return w.groups.Block(ctx, server, "club", "mia") },
	"unblock": func(w *world) error { return w.groups.Unblock(ctx, server, "club", "eve") },
	"members": func(w *world) error { _, _, err := w.groups.Members(ctx, user("mia"), "club", "", 0); return err },
}

func TestGroupsAreUnavailableWhenAStoreIsDown(t *testing.T) {
	t.Parallel()
	for what, call := range groupCalls {
		require.NoError(t, call(clubWorld()), what)
		w := clubWorld()
		w.mysql.down = errDown
		err := call(w)
		require.ErrorIs(t, err, errDown, what)
		requireCode(t, err, domain.CodeUnavailable, "")
		require.Empty(t, w.redis.changes, "%s: nothing is told that did not happen", what)
		if what == "members" || what == "create" {
			continue // needs no Redis
		}
		w = clubWorld()
		w.redis.down = errDown
		err = call(w)
		require.ErrorIs(t, err, errDown, what)
		requireCode(t, err, domain.CodeUnavailable, "")
	}
}

func TestARepeatedRemovalTellsTheCacheAgain(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	w.redis.down = errDown
	requireCode(t, w.groups.RemoveMember(ctx, server, "club", "mia"), domain.CodeUnavailable, "")
	w.redis.down = nil
	requireCode(t, w.groups.RemoveMember(ctx, server, "club", "mia"), domain.CodeNotFound, "")
	require.Len(t, w.redis.changes, 1)
	require.False(t, w.redis.changes[0].Raised, "so that the cache drops what it has")
}

func TestADismissalThatRedisDidNotHearOfIsToldAgain(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	w.redis.down = errDown
	requireCode(t, w.groups.Dismiss(ctx, server, "club"), domain.CodeUnavailable, "")
	w.redis.down = nil
	requireCode(t, w.groups.Dismiss(ctx, server, "club"), domain.CodeGone, "")
	require.Len(t, w.redis.changes, 1)
	require.True(t, w.redis.changes[0].Dismissed)
}
