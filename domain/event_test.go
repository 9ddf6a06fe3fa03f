package domain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestEventsAreWhatClientsGet(t *testing.T) {
	t.Parallel()
	for want, got := range map[string][]byte{
		`{"event":"group","group":"g","change":"created","by":"u"}`:              domain.GroupEvent{Group: "g", Change: domain.ChangeCreated, By: "u"}.JSON(),
		`{"event":"group","group":"g","change":"joined","user":"u"}`:             domain.GroupEvent{Group: "g", Change: domain.ChangeJoined, User: "u"}.JSON(),
		`{"event":"group","group":"g","change":"left","user":"u"}`:               domain.GroupEvent{Group: "g", Change: domain.ChangeLeft, User: "u"}.JSON(),
		`{"event":"group","group":"g","change":"removed","user":"u","by":"key"}`: domain.GroupEvent{Group: "g", Change: domain.ChangeRemoved, User: "u", By: "key"}.JSON(),
		`{"event":"group","group":"g","change":"dismissed"}`:                     domain.GroupEvent{Group: "g", Change: domain.ChangeDismissed}.JSON(),
		`{"event":"read","group":"dm:a:b","user":"a","seq":9007199254740991}`:    domain.ReadEvent{Group: "dm:a:b", User: "a", Seq: 1<<53 - 1}.JSON(),
		`{"event":"read","group":"g","user":"u","seq":0}`:                        domain.ReadEvent{Group: "g", User: "u"}.JSON(),
		`{"event":"presence","user":"u@x#1","online":true}`:                      domain.PresenceEvent{User: "u@x#1", Online: true}.JSON(),
		`{"event":"presence","user":"u","online":false}`:                         domain.PresenceEvent{User: "u"}.JSON(),
	} {
		require.Equal(t, want, string(got))
	}
}
