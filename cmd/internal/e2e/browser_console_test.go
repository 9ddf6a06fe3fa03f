package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var leadingNumber = regexp.MustCompile(`^[0-9,]+(\.[0-9]+)?`)

// number is the number that the first of some elements begins with, -1 if it shows none.
func (w *window) number(selector chromedp.CSS) float64 {
	w.t.Helper()
	for _, text := range w.all(selector, "e.innerText") {
		digits := strings.ReplaceAll(leadingNumber.FindString(text), ",", "")
		if n, err := strconv.ParseFloat(digits, 64); err == nil {
			return n
		}
	}
	return -1
}

func (w *window) awaitNumber(what string, selector chromedp.CSS, met func(n float64) bool) {
	w.t.Helper()
	await(w.t, patience, what, func() (bool, any) {
		n := w.number(selector)
		return met(n), fmt.Sprint(n, w.all(selector, "e.innerText"), w.errors())
	})
}

// turnTo opens a view of the console by its address.
func (w *window) turnTo(view string) {
	w.t.Helper()
	do(w, chromedp.Evaluate[string](fmt.Sprintf("location.hash = %q", "#/"+view)))
}

// TestConsoleInTheBrowser: an operator logs in, sees the load and the ranking of two instances, and the backlog while
// MariaDB is stopped; looks into a room and speaks and recalls there; asks for a group and a user; logs out.
func TestConsoleInTheBrowser(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, ownMySQL: true, env: withConsole()})
	users, groups := names("u", 5), names("tea", 3)
	for _, g := range groups {
		s.createGroup("room", g, users...)
	}
	l := startLoad(s, users, groups)
	defer l.stop()

	w := openChrome(t).open("http://" + s.instances[0].internal + "/console")
	w.write(testid("login-key"), "not the key")
	w.awaitText("[role=alert]", "key")
	w.forgive()
	w.write(testid("login-key"), adminKey) // in the place of the wrong one

	w.awaitNumber("messages a second", testid("totals-messages"), func(n float64) bool { return n > 0 })
	w.awaitAll("two instances", testid("instance-row"), "e.innerText", func(rows []string) bool { return len(rows) == 2 })
	w.awaitAll("three hot rooms", testid("hot-row"), "e.dataset.group", func(rows []string) bool {
		return len(rows) == len(groups) && slices.Contains(rows, groups[0])
	})
	await(t, patience, "the order of the API", func() (bool, any) {
		var ranking struct{ Groups []hotEntry }
		s.server(1).get("/v1/groups/hot").ok(200, &ranking)
		var want []string
		for _, e := range ranking.Groups {
			want = append(want, e.Group)
		}
		rows := w.all(testid("hot-row"), "e.dataset.group")
		return slices.Equal(rows, want), fmt.Sprint(rows, want)
	})
	w.shootAll("console")

	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	w.awaitNumber("the backlog grows", testid("totals-backlog"), func(n float64) bool { return n > 50 })
	w.see(testid("mysql-banner"))
	w.shoot("console-mysql-away")
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	l.stop()
	w.awaitNumber("the backlog is written", testid("totals-backlog"), func(n float64) bool { return n == 0 })
	w.awaitAll("MySQL is back", testid("mysql-banner"), "e.innerText", func(values []string) bool { return len(values) == 0 })

	w.writesAndRecalls(s, groups[0])
	w.turnTo("inspect/group/" + groups[0])
	w.see(testid("inspect-result", "group", groups[0]))
	w.awaitText(testid("inspect-result"), "Persisted")
	w.turnTo("inspect/user/" + users[0])
	w.awaitText(testid("inspect-user-group"), groups[1])
	w.click(".who button")
	w.see(testid("login-key"))
	w.forgive() // the streams of who has left are refused
}

// writesAndRecalls: what an operator writes in a room stands there, with his key's id, until he takes it back.
func (w *window) writesAndRecalls(s *stack, group string) {
	w.t.Helper()
	w.turnTo("room/" + group)
	w.write(testid("room-text"), say("closed at noon"))
	w.awaitText(testid("room-message"), "closed at noon")
	var newest page
	s.server(1).get("/v1/groups/"+group+"/messages?limit=1").ok(200, &newest)
	m := newest.Messages[0]
	if m.From != "system" || m.Operator != adminKeyID {
		w.t.Errorf("what the operator wrote: got %+v", m)
	}
	seq := strconv.FormatInt(m.Seq, 10)
	line := testid("room-message", "seq", seq)
	w.click(line + " " + testid("recall"))
	w.click(line + " " + testid("recall-yes"))
	w.see(line + "[data-recalled]")
	var tombstone struct {
		RecalledBy string `json:"recalled_by"`
	}
	s.server(0).get("/v1/groups/"+group+"/messages/"+seq).ok(200, &tombstone)
	if tombstone.RecalledBy != adminKeyID {
		w.t.Errorf("recalled by: got %q, want %s", tombstone.RecalledBy, adminKeyID)
	}
}
