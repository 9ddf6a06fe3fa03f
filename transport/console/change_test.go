package console

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestSendingIsByTheSystemAndNoted(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := newConsole(t, b)
	answer := ask(t, c, "POST", "/console/api/groups/tea/messages", `{"text":"closed <at> noon"}`)
	require.JSONEq(t, `{"group":"tea","seq":7,"time_ms":5,"duplicate":false,"durable":false,"persisted_seq":6}`, answer)
	require.Equal(t, []domain.Draft{{
		Group: "tea", From: domain.SystemUser, Operator: "ops", Body: []byte(`[{"type":"text","text":"closed <at> noon"}]`),
	}}, b.drafts)
	require.Contains(t, b.logged(), `"key":"ops","group":"tea","seq":7,"message":"console sent a message"`)
	require.NotContains(t, b.logged(), "noon")
	ask(t, c, "POST", "/console/api/groups/tea/messages", `{"text":"again","client_id":"c1"}`)
	require.Equal(t, "c1", b.drafts[1].ClientID, "a repeat is known by it")

	for path, group := range map[string]string{"%252e": ".", "%252e%252e": ".."} {
		ask(t, c, "POST", "/console/api/groups/"+path+"/messages", `{"text":"x"}`)
		require.Equal(t, group, b.drafts[len(b.drafts)-1].Group)
	}

	post := func(path, body string) domain.Code {
		var problem struct{ Code domain.Code }
		require.NoError(t, json.Unmarshal([]byte(text(t, do(c, request("POST", path, body, asAdmin)))), &problem))
		return problem.Code
	}
	require.Equal(t, domain.CodeBadRequest, post("/console/api/groups/tea/messages", `{"text":""}`))
	require.Equal(t, domain.CodeTooLarge, post("/console/api/groups/tea/messages", `{"text":"`+strings.Repeat("x", 13_000)+`"}`))
	require.Equal(t, domain.CodeBadRequest, post("/console/api/groups/hot/messages", `{"text":"x"}`))
	b.sendErr = domain.Errorf(domain.CodeGone, "dismissed")
	require.Equal(t, domain.CodeGone, post("/console/api/groups/tea/messages", `{"text":"x"}`))
	require.Equal(t, 4, strings.Count(b.logged(), "console sent"))
}

func TestASendWhoseRequestEndsIsNotKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{silent: true}
		c := newConsole(t, b)
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := c.deliver(ctx, domain.Draft{}); ended <- err }()
		synctest.Wait()
		cancel()
		require.Equal(t, domain.CodeUnavailable, domain.CodeOf(<-ended))
	})
}

// Who hangs up at once must not write without a trace.
func TestWhatMayHaveBeenDoneIsNotedToo(t *testing.T) {
	t.Parallel()
	b := &backend{silent: true}
	c := newConsole(t, b)
	hungUp, hangUp := context.WithCancel(t.Context())
	hangUp()
	do(c, request("POST", "/console/api/groups/tea/messages", `{"text":"noon"}`, asAdmin).WithContext(hungUp))
	require.Len(t, b.drafts, 1)
	require.Contains(t, b.logged(), `"key":"ops","group":"tea","message":"console sent a message, whether it is stored is not known"`)
	require.NotContains(t, b.logged(), "noon")

	b.redisErr = errDown
	requireRefused(t, do(c, request("POST", "/console/api/groups/tea/recall", `{"seqs":[3]}`, asAdmin)), domain.CodeUnavailable)
	require.Contains(t, b.logged(), `"key":"ops","group":"tea","seq":3,"message":"console recalled a message, whether it is gone is not known"`)
}

func TestRecallsAreOneByOneAndNoted(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := newConsole(t, b)
	require.JSONEq(t, `{"recalled":2}`, ask(t, c, "POST", "/console/api/groups/tea/recall", `{"seqs":[3,4]}`))
	require.Equal(t, []int64{3, 4}, b.recalled)
	require.Equal(t, 2, strings.Count(b.logged(), "console recalled a message"))
	requireRefused(t, do(c, request("POST", "/console/api/groups/tea/recall", `{"seqs":[5,404,6]}`, asAdmin)), domain.CodeNotFound)
	require.Equal(t, []int64{3, 4, 5}, b.recalled)
	many := `{"seqs":[` + strings.Repeat("1,", maxRecalls) + `1]}`
	for _, body := range []string{`{}`, `{"seqs":[]}`, many, `{"seqs":["1"]}`} {
		requireRefused(t, do(c, request("POST", "/console/api/groups/tea/recall", body, asAdmin)), domain.CodeBadRequest)
	}
}

func TestDeadLettersAreListedInPagesWithoutTheirText(t *testing.T) {
	t.Parallel()
	b := &backend{}
	for n := range int64(150) {
		b.letters = append(b.letters, domain.DeadLetter{
			Message: domain.Message{Group: "dm:a:b", Seq: n + 1, TimeMS: 5, Header: domain.Header{From: "ann"}, Body: []byte(`secret`)},
			Reason:  "a trigger", CreatedMS: 6,
		})
	}
	c := newConsole(t, b)
	type page struct {
		Letters []map[string]any
		Cursor  string
	}
	var first, second page
	answer := ask(t, c, "GET", "/console/api/dead", "")
	require.NotContains(t, answer, "secret")
	require.NoError(t, json.Unmarshal([]byte(answer), &first))
	require.Len(t, first.Letters, 100)
	require.Equal(t, map[string]any{
		"group": "dm:a:b", "seq": 1.0, "from": "ann", "time_ms": 5.0, "reason": "a trigger", "bytes": 6.0, "created_ms": 6.0,
	}, first.Letters[0])
	require.NoError(t, json.Unmarshal([]byte(ask(t, c, "GET", "/console/api/dead?cursor="+first.Cursor, "")), &second))
	require.Len(t, second.Letters, 50)
	require.Equal(t, 101.0, second.Letters[0]["seq"])
	require.Empty(t, second.Cursor)
	for _, cursor := range []string{"x", "5", "5-a/b", "-a"} {
		requireRefused(t, do(c, request("GET", "/console/api/dead?cursor="+cursor, "", asAdmin)), domain.CodeBadRequest)
	}
	b.mysqlErr = errDown
	requireRefused(t, do(c, request("GET", "/console/api/dead", "", asAdmin)), domain.CodeUnavailable)
}

func TestDeadLettersAreRetriedAndNoted(t *testing.T) {
	t.Parallel()
	b := &backend{outcome: domain.LetterStored}
	c := newConsole(t, b)
	require.JSONEq(t, `{"stored":1,"refused":0}`, ask(t, c, "POST", "/console/api/dead/retry", `{"group":"tea","seq":7}`))
	require.JSONEq(t, `{"stored":2,"refused":0}`, ask(t, c, "POST", "/console/api/dead/retry", `{"group":"tea"}`))
	for outcome, want := range map[domain.LetterOutcome]int{
		domain.LetterRefused: 2, domain.LetterUnknown: 2, domain.LetterNotNeeded: 0, domain.LetterToldAgain: 0,
	} {
		b.outcome = outcome
		require.JSONEq(t, fmt.Sprintf(`{"stored":0,"refused":%d}`, want), ask(t, c, "POST", "/console/api/dead/retry", `{"group":"tea"}`))
	}
	require.Contains(t, b.logged(), `"key":"ops","group":"tea","seq":7,"stored":1,"refused":0,"message":"console retried dead letters"`)
	for _, body := range []string{`{}`, `{"group":"a/b"}`, `{"group":"tea","seq":0}`} {
		requireRefused(t, do(c, request("POST", "/console/api/dead/retry", body, asAdmin)), domain.CodeBadRequest)
	}
	b.mysqlErr = errDown
	requireRefused(t, do(c, request("POST", "/console/api/dead/retry", `{"group":"tea"}`, asAdmin)), domain.CodeUnavailable)
}
