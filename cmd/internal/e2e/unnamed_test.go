package e2e

import (
	"encoding/json"
	"testing"
)

// TestInstancesWithoutAName: the three settings of the README are enough. Instances that are not named name
// themselves, each otherwise: leases and viewer counts are told apart by it.
func TestInstancesWithoutAName(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_NODE_NAME": ""}})
	s.createGroup("room", "r", "alice")
	names := make(map[string]bool)
	for n, user := range []string{"alice", "bob"} {
		c := s.connect(n, user)
		var welcome struct {
			Instance string `json:"instance"`
		}
		if err := json.Unmarshal(c.seen()[0].raw, &welcome); err != nil {
			t.Fatal(err)
		}
		if welcome.Instance == "" {
			t.Errorf("instance %d has no name: %s", n, c.seen()[0].raw)
		}
		names[welcome.Instance] = true
		c.do("subscribe", fields{"group": "r"}, nil)
	}
	if len(names) != 2 {
		t.Errorf("names: got %v, want two that differ", names)
	}
	await(t, patience, "both users are counted in the room", func() (bool, any) {
		var room struct {
			Online int `json:"online"`
		}
		answer := s.server(0).get("/v1/groups/r")
		err := json.Unmarshal(answer.Body, &room)
		return err == nil && room.Online == 2, room.Online
	})
}
