package domain_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// permissions is the table "who may do what" of PROTOCOL.md §4 with its notes of §7 and §11. A join of * stands
// for both; – marks roles that a direct conversation does not have.
const permissions = `
action          type    join    owner      admin      member     outsider    blocked
read            room    *       ok         ok         ok         ok          forbidden
read            group   *       ok         ok         ok         not_member  forbidden
read            direct  *       –          –          ok         not_member  forbidden
send            room    *       ok         ok         ok         ok          forbidden
send            group   *       ok         ok         ok         not_member  forbidden
send            direct  *       –          –          ok         not_member  forbidden
add_members     room    *       ok         ok         ok         not_member  forbidden
add_members     group   open    ok         ok         ok         not_member  forbidden
add_members     group   invite  ok         ok         forbidden  not_member  forbidden
add_members     direct  *       forbidden  forbidden  forbidden  not_member  forbidden
remove_members  room    *       ok         ok         forbidden  not_member  forbidden
remove_members  group   *       ok         ok         forbidden  not_member  forbidden
remove_members  direct  *       –          –          forbidden  not_member  forbidden
list_members    room    *       ok         ok         ok         ok          forbidden
list_members    group   *       ok         ok         ok         not_member  forbidden
list_members    direct  *       –          –          ok         not_member  forbidden
see_the_group   room    *       ok         ok         ok         ok          forbidden
see_the_group   group   *       ok         ok         ok         not_member  forbidden
see_the_group   direct  *       –          –          ok         not_member  forbidden
dismiss         room    *       ok         forbidden  forbidden  not_member  forbidden
dismiss         group   *       ok         forbidden  forbidden  not_member  forbidden
dismiss         direct  *       –          –          forbidden  not_member  forbidden
leave           room    *       conflict   ok         ok         not_member  forbidden
leave           group   *       conflict   ok         ok         not_member  forbidden
leave           direct  *       –          –          forbidden  not_member  forbidden
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
			joins = []string{domain.JoinOpen, domain.JoinInvite}
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
				if typ == domain.Direct && (do == domain.AddMembers || do == domain.RemoveMembers || do == domain.Leave || do == domain.Dismiss) {
					wantServer = "forbidden" // §7: both are in it, and nobody else can be
				}
				for _, actor := range []domain.Actor{server, {User: "ann", Key: "backend-1"}} {
					got := verdict(domain.Allow(actor, do, typ, join, role))
					require.Equal(t, wantServer, got, "%s in a %s, join %s, as %q by an app server", do, typ, join, role)
				}
			}
		}
	}
	require.Len(t, walked, 8*3*2, "every action, type and join is in the table")
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
