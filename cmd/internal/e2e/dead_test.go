package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// command runs a command of hearth to its end, with the configuration of the instances.
func (s *stack) command(args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	i := s.instances[0]
	cmd := exec.CommandContext(s.t.Context(), built.path(s.t), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + i.dir}, i.env...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = i.dir, &out, &errs
	dieWithTest(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%v: %v", args, err)
	}
	if strings.Contains(out.String()+errs.String(), quiet) {
		s.t.Errorf("%v shows what a user wrote:\n%s%s", args, &out, &errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// does runs a command that must end with this status and print these words.
func (s *stack) does(status int, args []string, words ...string) string {
	s.t.Helper()
	stdout, stderr, got := s.command(args...)
	for _, word := range words {
		if !strings.Contains(stdout+stderr, word) {
			s.t.Errorf("%v does not print %q", args, word)
			got = -1
		}
	}
	if got != status {
		s.t.Fatalf("%v: status %d, want %d; it printed:\n%s%s", args, got, status, stdout, stderr)
	}
	return stdout
}

func (s *stack) exec(statement string, args ...any) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), statement, args...); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// TestDeadLetters: a trigger in MySQL refuses what one user writes. The others' messages get through, he is told, his
// seqs become holes; and when the trigger is gone, a retry brings the messages back to their seqs and to who has passed
// them.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "ann", "bob", "evil")
	s.exec("CREATE TRIGGER no_evil BEFORE INSERT ON group_msg FOR EACH ROW " +
		"IF NEW.from_account = 'evil' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF")
	ann, bob, evil := s.connect(0, "ann"), s.connect(1, "bob"), s.connect(1, "evil")

	ann.send("g", say("before"))
	silent := evil.send("g", say("accepted, then refused"))
	durably := func(text string) fields {
		return fields{"group": "g", "body": textBody(text), "ack": "durable", "timeout_ms": 10_000}
	}
	repeatable := durably(say("refused"))
	repeatable["client_id"] = "again"
	begun := time.Now()
	refused, err := evil.ask("send", repeatable)
	if err != nil {
		t.Fatal(err)
	}
	var after sent
	for n := range 10 {
		if ann.do("send", durably(say("ann", n)), &after); !after.Durable {
			t.Errorf("ann's send %d: not durable in 10 s", n)
		}
	}
	var f *failure
	if err := evil.result(refused, nil); !errors.As(err, &f) || f.Code != "internal" || !f.Retryable {
		t.Errorf("durable send of what is refused: got %v, want a retryable internal", err)
	}
	t.Logf("10 durable sends, one after the other, and the refusal: %v", time.Since(begun).Round(time.Millisecond))
	s.awaitPersisted(patience)
	s.awaitRows(patience, 11)
	ann.awaitPushes("g", 13)
	bob.awaitPushes("g", 13)

	// holes checks that everything is explained, these seqs by holes.
	pages := func(holes int64) page {
		t.Helper()
		p := bob.pull("g", fields{"after_seq": 0, "limit": 200})
		if _, err := p.explained(0); err != nil {
			t.Error(err)
		}
		var n int64
		for _, h := range p.Holes {
			n += h.To - h.From + 1
		}
		if n != holes || int64(len(p.Messages)) != 13-holes {
			t.Errorf("pull: got %d messages and %d seqs in holes (%v), want %d and %d", len(p.Messages), n, p.Holes, 13-holes, holes)
		}
		return p
	}
	pages(2)
	await(t, patience, "the metric tells of two dead letters", func() (bool, any) {
		var got []string
		for n := range s.instances {
			got = append(got, s.metric(t, n, "hearth_persist_dead_letters"))
		}
		return slices.Equal(got, slices.Repeat([]string{"2"}, len(s.instances))), got
	})

	list := s.does(0, []string{"dead", "list", "--group", "g", "--json"})
	type letter struct {
		Group, From, Reason string
		Seq, Bytes          int64
	}
	var letters []letter
	for line := range strings.Lines(list) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		letters = append(letters, l)
	}
	if len(letters) != 2 || letters[0].Seq != silent.Seq || letters[0].From != "evil" || letters[0].Bytes == 0 || !strings.Contains(letters[0].Reason, "1644") {
		t.Fatalf("dead list: got %s, want the two of evil, refused with error 1644", list)
	}
	s.does(0, []string{"dead", "list"}, fmt.Sprint("g ", silent.Seq, "  from evil"))
	s.does(1, []string{"dead", "retry"}, fmt.Sprint("g ", silent.Seq, "  refused again: "), "1644", "0 stored, 2 not")
	pages(2)
	s.sound()

	s.exec("DROP TRIGGER no_evil")
	everybody := []*client{ann, bob, evil}
	// toldFrom waits until all are told to begin again behind a message, and lets them.
	toldFrom := func(after int64) {
		t.Helper()
		want := fmt.Sprintf(`{"event":"resync","groups":[{"group":"g","after_seq":%d}]}`, after)
		for _, c := range everybody {
			c.awaitMatch(want, func(f frame) bool { return string(f.raw) == want })
			var again page
			c.do("subscribe", fields{"group": "g", "after_seq": after, "limit": 200}, &again)
			if _, err := again.explained(after); err != nil || len(again.Messages) == 0 || again.Messages[0].Seq != after+1 || again.Messages[0].From != "evil" {
				t.Errorf("%s subscribes again behind %d: got messages %s, %v, want evil's first", c.user, after, seqsOf(again.Messages), err)
			}
		}
	}
	second := letters[1].Seq
	s.does(0, []string{"dead", "retry", "g", fmt.Sprint(second)}, fmt.Sprint("g ", second, "  stored"))
	toldFrom(second - 1)
	pages(1)
	var repeated sent // internal is retryable, and its sender goes on
	if evil.do("send", repeatable, &repeated); !repeated.Duplicate || repeated.Seq != second || !repeated.Durable {
		t.Errorf("repeat of what came back: got %+v, want a durable duplicate of %d", repeated, second)
	}
	s.does(0, []string{"dead", "retry"}, fmt.Sprint("g ", silent.Seq, "  stored"), "1 stored.")
	toldFrom(silent.Seq - 1)
	p := pages(0)
	for _, back := range []struct {
		seq  int64
		text string
	}{{silent.Seq, say("accepted, then refused")}, {second, say("refused")}} {
		if m := p.Messages[back.seq-1]; m.Seq != back.seq || m.From != "evil" || string(m.Body) != compactText(back.text) {
			t.Errorf("message %d: got %d from %s: %s", back.seq, m.Seq, m.From, m.Body)
		}
	}
	next := ann.send("g", say("goes on"))
	for _, c := range everybody {
		c.awaitMatchingPush("g", next.Seq)
	}

	s.does(0, []string{"dead", "retry", "g", fmt.Sprint(second)}, "stored before, told again")
	s.does(1, []string{"dead", "retry", "g", "999"}, "there is no such dead letter")
	if out := s.does(0, []string{"dead", "list"}); out != "" {
		t.Errorf("dead list at the end: got %s, want nothing", out)
	}
	s.sound()
}

// awaitMatchingPush waits for the message with this seq.
func (c *client) awaitMatchingPush(group string, seq int64) {
	c.t.Helper()
	if !c.wait(patience, func() bool {
		pushed := c.pushes[group]
		return len(pushed) > 0 && pushed[len(pushed)-1].Seq == seq
	}) {
		c.t.Fatalf("%s: message %d was not pushed (%v)", c.user, seq, c.why())
	}
}
