package domain_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestHooksOfAChangeSayWhatHappened(t *testing.T) {
	t.Parallel()
	until := int64(-1)
	c := domain.GroupChange{Group: domain.Group{ID: "g", Attributes: json.RawMessage(`{"a":1}`)}, Events: []domain.GroupEvent{
		{Group: "g", Change: domain.ChangeUpdated, By: "ann"},
		{Group: "g", Change: domain.ChangeMuted, User: "bob", By: "ann", MuteUntilMS: &until},
		{Group: "g", Change: domain.ChangeRole, User: "bob", Role: domain.Admin},
		{Group: "g", Change: domain.ChangeDismissed},
	}}
	var got []string
	for _, r := range c.Hooks() {
		require.True(t, json.Valid(r.Data))
		got = append(got, r.Event+" "+string(r.Data))
	}
	require.Contains(t, got[0], `group_changed {"group":"g","change":"updated","by":"ann","type":"","name":"","avatar":"","join":"","owner":"","attributes":{"a":1},`)
	require.Equal(t, []string{
		`member_changed {"group":"g","change":"muted","user":"bob","by":"ann","mute_until_ms":-1}`,
		`member_changed {"group":"g","change":"role","user":"bob","role":"admin"}`,
		`group_changed {"group":"g","change":"dismissed"}`,
	}, got[1:])
}

// Receivers know repeats by the id, and it is joined with dots to what is signed.
func TestHooksHaveIDsOfTheirOwnThatStay(t *testing.T) {
	t.Parallel()
	ids := make(map[string]bool)
	for range 2 {
		for _, group := range []string{"a.b", "a"} {
			for seq := range int64(3) {
				m := domain.UntoldMessage{Record: domain.Record{Group: group, Seq: seq, Tail: []byte("}")}}
				ids[m.Hook().ID] = true
				r := domain.RecalledHook(domain.Recall{Group: group, Seq: seq, By: "ann", TimeMS: 5})
				r.ID = seq
				ids[r.Hook().ID] = true
			}
		}
	}
	require.Len(t, ids, 12)
	for id := range ids {
		require.False(t, strings.ContainsAny(id, ". "), id)
	}
}
