package domain_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9_.@#-]{1,64}$`)

func anyID() *rapid.Generator[string] {
	return rapid.StringMatching(`[A-Za-z0-9_.@#-]{1,64}`)
}

func TestValidIDIsTheProtocolsForm(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"":                      false,
		"a":                     true,
		"A-z_0.9@#":             true,
		strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false,
		"a b":                   false,
		"a:b":                   false,
		`a"b`:                   false,
		"a\\b":                  false,
		"a{b}":                  false,
		"a|b":                   false,
		"a\n":                   false,
		"é":                     false,
		"\xff":                  false,
	} {
		require.Equal(t, want, domain.ValidID(id), "ValidID(%q)", id)
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(anyID(), rapid.String(), rapid.StringMatching(`[ -~]{0,70}`)).Draw(t, "id")
		require.Equal(t, idForm.MatchString(id) && !strings.HasSuffix(id, "\n"), domain.ValidID(id), "ValidID(%q)", id)
	})
}

func TestChecksRefuseReservedIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		check func(field, id string) error
		id    string
		ok    bool
	}{
		"any id may be system":          {domain.CheckID, "system", true},
		"any id may be hot":             {domain.CheckID, "hot", true},
		"no id is empty":                {domain.CheckID, "", false},
		"a user is not system":          {domain.CheckUser, "system", false},
		"a user may be hot":             {domain.CheckUser, "hot", true},
		"a user may be System":          {domain.CheckUser, "System", true},
		"a user is not a conversation":  {domain.CheckUser, "dm:a:b", false},
		"a group is not hot":            {domain.CheckGroup, "hot", false},
		"a group may be Hot":            {domain.CheckGroup, "Hot", true},
		"a group may be direct":         {domain.CheckGroup, "dm:a:b", true},
		"a group is not half a direct":  {domain.CheckGroup, "dm:a", false},
		"a direct is in order":          {domain.CheckGroup, "dm:b:a", false},
		"a new group is not hot":        {domain.CheckNewGroup, "hot", false},
		"a new group is not direct":     {domain.CheckNewGroup, "dm:a:b", false},
		"a new group may be system":     {domain.CheckNewGroup, "system", true},
		"a new group's id is not empty": {domain.CheckNewGroup, "", false},
	} {
		err := c.check("field", c.id)
		if c.ok {
			require.NoError(t, err, name)
			continue
		}
		requireCode(t, err, domain.CodeBadRequest, "field")
		require.True(t, strings.HasPrefix(domain.AsError(err).Message, "field: "), "message %q names the field", err)
	}
}

func TestSplitDirectTakesOnlyOrderedPairs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][2]string{
		"dm:a:b":     {"a", "b"},
		"dm:B:a":     {"B", "a"}, // byte order: capitals first
		"dm:a:aa":    {"a", "aa"},
		"dm:10:9":    {"10", "9"},
		"dm:b:a":     {},
		"dm:a:a":     {},
		"dm:a:":      {},
		"dm::a":      {},
		"dm:a":       {},
		"dm:a:b:c":   {},
		"DM:a:b":     {},
		"a:b":        {},
		"dm:a b:c":   {},
		" dm:a:b":    {},
		"dm:a:b ":    {},
		"dm:a:b\x00": {},
	} {
		lower, higher, ok := domain.SplitDirect(id)
		require.Equal(t, want, [2]string{lower, higher}, "SplitDirect(%q)", id)
		require.Equal(t, want != [2]string{}, ok, "SplitDirect(%q)", id)
	}
}

func TestSplitDirectUndoesDirect(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyID().Draw(t, "a"), anyID().Draw(t, "b")
		lower, higher, ok := domain.SplitDirect("dm:" + min(a, b) + ":" + max(a, b))
		require.Equal(t, a != b, ok)
		if ok {
			require.Equal(t, [2]string{min(a, b), max(a, b)}, [2]string{lower, higher})
			_, _, swapped := domain.SplitDirect("dm:" + higher + ":" + lower)
			require.False(t, swapped, "the other order names the same conversation a second time")
		}
	})
}

func TestDirectIDAndPeerAgree(t *testing.T) {
	t.Parallel()
	require.Equal(t, "dm:a:b", domain.DirectID("b", "a"))
	require.Equal(t, "dm:B:a", domain.DirectID("a", "B"), "byte order: capitals first")
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyID().Draw(t, "a"), anyID().Draw(t, "b")
		group := domain.DirectID(a, b)
		require.Equal(t, group, domain.DirectID(b, a))
		peer, ok := domain.Peer(group, a)
		require.Equal(t, a != b, ok, "nobody talks to himself")
		if ok {
			require.Equal(t, b, peer)
			peer, _ = domain.Peer(group, b)
			require.Equal(t, a, peer)
		}
	})
}

func TestPeerIsOfHisOwnConversations(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"dm:a:b", "c"}, {"dm:a:b", ""}, {"dm:b:a", "a"}, {"room", "a"}, {"", "a"}, {"dm:a:a", "a"}} {
		peer, ok := domain.Peer(c[0], c[1])
		require.False(t, ok, "Peer(%q, %q)", c[0], c[1])
		require.Empty(t, peer)
	}
}
