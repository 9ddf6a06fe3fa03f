package domain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// permissions is the table "who may do what" of PROTOCOL.md §4 with its notes of §7 and §11. A join of * stands
// for all; – marks roles that a direct conversation does not have.
const permissions = `
action          type    join    owner      admin      member     outsider    blocked
read            room    *       ok         ok         ok         ok          forbidden
read            group   *       ok         ok         ok         not_member  forbidden
read            direct  *       –          –          ok         not_member  forbidden
send            room    *       ok         ok         ok         ok          forbidden
send            group   *       ok         ok         ok         not_member  forbidden
send            direct  *       –          –          ok         not_member  forbidden
add_members     room    open    ok         ok         ok         not_member  forbidden
add_members     room    invite  ok         ok         ok         not_member  forbidden
add_members     room    closed  forbidden  forbidden  forbidden  not_member  forbidden
add_members     group   open    ok         ok         ok         not_member  forbidden
add_members     group   invite  ok         ok         forbidden  not_member  forbidden
add_members     group   closed  forbidden  forbidden  forbidden  not_member  forbidden
add_members     direct  *       –          –          forbidden  not_member  forbidden
remove_members  room    *       ok         ok         forbidden  not_member  forbidden
remove_members  group   *       ok         ok         forbidden  not_member  forbidden
remove_members  direct  *       –          –          forbidden  not_member  forbidden
list_members    room    *       ok         ok         ok         ok          forbidden
list_members    group   *       ok         ok         ok         not_member  forbidden
list_members    direct  *       –          –          ok         not_member  forbidden
see_the_group   room    *       ok         ok         ok         ok          forbidden
see_the_group   group   *       ok         ok         ok         not_member  forbidden
see_the_group   direct  *       –          –          ok         not_member  forbidden
join            room    open    ok         ok         ok         ok          forbidden
join            room    invite  ok         ok         ok         forbidden   forbidden
join            room    closed  ok         ok         ok         forbidden   forbidden
join            group   open    ok         ok         ok         ok          forbidden
join            group   invite  ok         ok         ok         forbidden   forbidden
join            group   closed  ok         ok         ok         forbidden   forbidden
join            direct  *       –          –          ok         forbidden   forbidden
change_the_group room   *       ok         ok         forbidden  not_member  forbidden
change_the_group group  *       ok         ok         forbidden  not_member  forbidden
change_the_group direct *       –          –          forbidden  not_member  forbidden
mute_members    room    *       ok         ok         forbidden  not_member  forbidden
mute_members    group   *       ok         ok         forbidden  not_member  forbidden
mute_members    direct  *       –          –          forbidden  not_member  forbidden
block_users     room    *       ok         ok         forbidden  not_member  forbidden
block_users     group   *       ok         ok         forbidden  not_member  forbidden
block_users     direct  *       –          –          forbidden  not_member  forbidden
change_roles    room    *       ok         forbidden  forbidden  not_member  forbidden
change_roles    group   *       ok         forbidden  forbidden  not_member  forbidden
change_roles    direct  *       –          –          forbidden  not_member  forbidden
dismiss         room    *       ok         forbidden  forbidden  not_member  forbidden
dismiss         group   *       ok         forbidden  forbidden  not_member  forbidden
dismiss         direct  *       –          –          forbidden  not_member  forbidden
leave           room    *       conflict   ok         ok         not_member  forbidden
leave           group   *       conflict   ok         ok         not_member  forbidden
leave           direct  *       –          –          forbidden  not_member  forbidden
recall_messages room    *       ok         ok         forbidden  forbidden   forbidden
recall_messages group   *       ok         ok         forbidden  not_member  forbidden
recall_messages direct  *       –          –          forbidden  not_member  forbidden
`

func TestAllowIsTheProtocolsTable(t *testing.T) {
	t.Parallel()
	roles := []domain.Role{domain.Owner, domain.Admin, domain.Member, domain.Outsider, domain.BlockedIn}
	lines := strings.Split(strings.TrimSpace(permissions), "\n")[1:]
	walked := map[string]bool{}
	for _, line := range lines {
		cells := strings.Fields(line)
		do := domain.Action(strings.ReplaceAll(cells[0], "_", " "))
		typ := domain.GroupType(cells[1])
		joins := []string{cells[2]}
		if cells[2] == "*" {
			joins = []string{domain.JoinOpen, domain.JoinInvite, domain.JoinClosed}
		}
		for _, join := range joins {
			walked[strings.Join([]string{string(do), string(typ), join}, "/")] = true
			for i, role := range roles {
				want := cells[3+i]
				if want != "–" {
					got := verdict(domain.Allow(user("ann"), do, typ, join, role))
					require.Equal(t, want, got, "%s in a %s, join %s, as %q", do, typ, join, role)
				}
				wantServer := "ok"
				if !slices.Contains([]domain.Action{domain.Read, domain.Send, domain.ListMembers, domain.SeeGroup, domain.RecallAny}, do) && typ == domain.Direct {
					wantServer = "forbidden" // §7: both are in it, and nobody else can be
				}
				for _, actor := range []domain.Actor{server, {User: "ann", Key: "backend-1"}} {
					got := verdict(domain.Allow(actor, do, typ, join, role))
					require.Equal(t, wantServer, got, "%s in a %s, join %s, as %q by an app server", do, typ, join, role)
				}
			}
		}
	}
	require.Len(t, walked, 14*3*3, "every action, type and join is in the table")
}

// overOthers is the same table for what is done to somebody: who does it stands above, to whom beside.
const overOthers = `
action          to        app_server  owner      admin
remove_members  owner     conflict    forbidden  forbidden
remove_members  admin     ok          ok         forbidden
remove_members  member    ok          ok         ok
mute_members    owner     ok          forbidden  forbidden
mute_members    admin     ok          ok         forbidden
mute_members    member    ok          ok         ok
mute_members    outsider  ok          ok         ok
block_users     owner     conflict    forbidden  forbidden
block_users     admin     ok          ok         forbidden
block_users     member    ok          ok         ok
block_users     outsider  ok          ok         ok
block_users     blocked   ok          ok         ok
change_roles    owner     conflict    conflict   forbidden
change_roles    admin     ok          ok         forbidden
change_roles    member    ok          ok         forbidden
recall_messages owner     ok          forbidden  forbidden
recall_messages admin     ok          ok         forbidden
recall_messages member    ok          ok         ok
recall_messages outsider  ok          ok         ok
recall_messages blocked   ok          ok         ok
`

func TestAllowOverIsTheProtocolsTable(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.TrimSpace(overOthers), "\n")[1:] {
		cells := strings.Fields(line)
		do, to := domain.Action(strings.ReplaceAll(cells[0], "_", " ")), domain.Role(cells[1])
		if to == "outsider" {
			to = domain.Outsider
		}
		for i, asks := range []struct {
			actor domain.Actor
			role  domain.Role
		}{
			{server, domain.Outsider},
			{user("ann"), domain.Owner},
			{user("ann"), domain.Admin},
			{user("ann"), domain.Member},
			{user("ann"), domain.Outsider},
			{user("ann"), domain.BlockedIn},
		} {
			want := "forbidden"
			if i < 3 {
				want = cells[2+i]
			}
			got := verdict(domain.AllowOver(asks.actor, do, asks.role, to))
			require.Equal(t, want, got, "%s by %+v as %q to %q", do, asks.actor, asks.role, to)
		}
	}
	require.Equal(t, "forbidden", verdict(domain.AllowOver(server, "paint", domain.Owner, domain.Member)))
}

func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	return string(domain.CodeOf(err))
}

func TestUnknownActionsAreForbidden(t *testing.T) {
	t.Parallel()
	for _, role := range []domain.Role{domain.Owner, domain.Admin, domain.Member} {
		require.Equal(t, "forbidden", verdict(domain.Allow(user("ann"), "paint", domain.Private, domain.JoinOpen, role)))
	}
}

func TestAnActorWithAKeyIsAServer(t *testing.T) {
	t.Parallel()
	require.False(t, user("ann").IsServer())
	for _, actor := range []domain.Actor{server, {User: "ann", Key: "backend-1"}} {
		require.True(t, actor.IsServer())
	}
}
