package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// askToken asks an instance for a token as its demo page does.
func askToken(t testing.TB, i *instance, user string) (token string, status int) {
	t.Helper()
	request, err := http.NewRequest("POST", "http://"+i.addr+"/demo/token", strings.NewReader(`{"user":"`+user+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://"+i.addr)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatalf("token for %s: %v, %s", user, err, response.Status)
	}
	return got.Token, response.StatusCode
}

// TestDemoInServe: off unless it is switched on; then it has rooms of its own, and tokens for nobody but its users.
func TestDemoInServe(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	if _, status := askToken(t, s.instances[0], "demo-ann"); status != http.StatusNotFound {
		t.Errorf("token of a server without a demo: got %d, want 404", status)
	}
	on := s.instances[1]
	on.stop()
	on.env = append(on.env, "HEARTH_DEMO_ENABLED=true")
	on.up()
	on.stop() // the rooms are there already at the next start
	on.up()
	for _, user := range []string{"ann", "system", "Demo-ann"} {
		if token, status := askToken(t, on, user); token != "" || status < 400 {
			t.Errorf("token for %s: got %d, want none", user, status)
		}
	}
	chrome := openChrome(t)
	w := chrome.enter("http://"+on.addr, "ann", "demo-lobby")
	w.write(testid("composer"), say("from the page"))
	w.awaitText(testid("message"), say("from the page"))
	w.awaitAll("the user's name, without the prefix", testid("user"), "e.value", just("ann"))
	token, _ := askToken(t, on, "demo-bob")
	bob, err := dial(t, on.ws(), token, "demo-bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	var p page
	bob.do("subscribe", fields{"group": "demo-lobby", "after_seq": 0}, &p)
	if len(p.Messages) != 1 || p.Messages[0].From != "demo-ann" {
		t.Errorf("in the room: got %+v, want what demo-ann said", p.Messages)
	}
	w.shows(1)
	w.awaitAll("no button for what the page does not know", testid("other-instance"), "e", func(found []string) bool { return len(found) == 0 })
	w.write(testid("user"), " smith")
	w.awaitText(testid("user-trouble"), "“ann smith” is no user’s name")
	w.awaitText(testid("user-trouble"), "You are still ann.")

	lost := chrome.enter("http://"+on.addr, "eve", "..")
	lost.awaitText(testid("refused"), "“..” is no room id")
	lost.awaitText("#room-name", "demo-lobby")
	var room struct {
		MemberCount int `json:"member_count"`
	}
	await(t, patience, "who speaks joins, who looks does not", func() (bool, any) {
		s.user(1, "demo-bob").get("/v1/groups/demo-lobby").ok(200, &room)
		return room.MemberCount == 1, room
	})
}
