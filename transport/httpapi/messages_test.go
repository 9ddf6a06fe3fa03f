package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fill sends n messages of ann to a group.
func (s *server) fill(t *testing.T, group string, n int) {
	t.Helper()
	for range n {
		s.do(t, "ann", "POST", "/v1/groups/"+group+"/messages", text("")).want(t, 201)
	}
}

func messageJSON(group string, seq int) string {
	return fmt.Sprintf(`{"group":%q,"seq":%d,"time_ms":5000,"from":"ann","body":[{"type":"text","text":"hi"}]}`, group, seq)
}

func TestSend(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const path = "/v1/groups/r/messages"
	r := s.do(t, "ann", "POST", path, text(`,"client_id":"c1","echo":false,"priority":"low","mentions":["*"],"ack":"both"`)).
		wantJSON(t, 201, `{"group":"r","seq":1,"time_ms":5000,"duplicate":false,"durable":false,"persisted_seq":0}`)
	require.Equal(t, "/v1/groups/r/messages/1", r.Header.Get("Location"))
	require.Equal(t, domain.AckAccepted, s.appended[0].Ack)
	require.Equal(t, domain.PriorityLow, s.appended[0].Priority)

	r = s.do(t, "ann", "POST", path, `{ "body" : [ {"type":"text","text":"hi"} ], "client_id":"c1", "mentions":["*"] }`).
		wantJSON(t, 200, `{"group":"r","seq":1,"time_ms":5000,"duplicate":true,"durable":false,"persisted_seq":0}`)
	require.Equal(t, "/v1/groups/r/messages/1", r.Header.Get("Location"))
	s.do(t, "ann", "POST", path, text(`,"client_id":"c1"`)).wantProblem(t, 409, domain.CodeConflict, "")

	s.do(t, "ann", "POST", path, text(`,"ack":"durable","timeout_ms":1`)).
		wantJSON(t, 201, `{"group":"r","seq":2,"time_ms":5000,"duplicate":false,"durable":false,"persisted_seq":0}`)
	s.change(func(f *fake) { f.commit = true })
	s.do(t, "zoe", "POST", path, text(`,"ack":"durable","timeout_ms":10000,"reply_to":1,"from":"zoe"`)).
		wantJSON(t, 201, `{"group":"r","seq":3,"time_ms":5000,"duplicate":false,"durable":true,"persisted_seq":3}`)
	require.EqualValues(t, 1, s.appended[len(s.appended)-1].ReplyTo)
}

func TestSendByAppServer(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for seq, from := range []string{"", "system", "bob", "nobody-in-there"} {
		more := ""
		if from != "" {
			more = `,"from":"` + from + `"`
		} else {
			from = "system"
		}
		s.do(t, "shop", "POST", "/v1/groups/g/messages", text(more)).want(t, 201)
		s.do(t, "bob", "GET", fmt.Sprintf("/v1/groups/g/messages/%d", seq+1), "").wantJSON(t, 200, fmt.Sprintf(
			`{"group":"g","seq":%d,"time_ms":5000,"from":%q,"operator":"shop","body":[{"type":"text","text":"hi"}]}`, seq+1, from))
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "zoe", "GET", "/v1/groups/r/messages", "").
		wantJSON(t, 200, `{"group":"r","max_seq":0,"min_seq":1,"messages":[],"holes":[],"more":false}`)
	s.fill(t, "r", 3)
	page := func(more string, seqs ...int) string {
		var list []string
		for _, seq := range seqs {
			list = append(list, messageJSON("r", seq))
		}
		return `{"group":"r","max_seq":3,"min_seq":1,"messages":[` + strings.Join(list, ",") + `],"holes":[],"more":` + more + `}`
	}
	for query, want := range map[string]string{
		"":                                    page("false", 1, 2, 3),
		"?after_seq=0&limit=2":                page("true", 1, 2),
		"?after_seq=2":                        page("false", 3),
		"?after_seq=99":                       page("false"),
		"?before_seq=3&limit=1":               page("true", 2),
		"?before_ms=6000":                     page("false", 1, 2, 3),
		"?before_ms=5000":                     page("false"),
		"?limit=1000000":                      page("false", 1, 2, 3),
		"?limit=9223372036854775807":          page("false", 1, 2, 3),
		"?after_seq=9007199254740991&limit=1": page("false"),
	} {
		s.do(t, "zoe", "GET", "/v1/groups/r/messages"+query, "").wantJSON(t, 200, want)
	}
	s.do(t, "zoe", "GET", "/v1/groups/r/messages/2", "").wantJSON(t, 200, messageJSON("r", 2))
	s.do(t, "shop", "GET", "/v1/groups/r/messages?after_seq=2", "").wantJSON(t, 200, page("false", 3))
}

func TestDirectConversationsHaveTheirIDInThePath(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) {
		f.groups["dm:ann:bob"] = &domain.Group{ID: "dm:ann:bob", Type: domain.Direct}
		f.members["dm:ann:bob"] = map[string]domain.Membership{"ann": {User: "ann", Role: domain.Member}}
	})
	r := s.do(t, "ann", "POST", "/v1/groups/dm:ann:bob/messages", text("")).want(t, 201)
	require.Equal(t, "/v1/groups/dm:ann:bob/messages/1", r.Header.Get("Location"))
	s.do(t, "ann", "GET", r.Header.Get("Location"), "").want(t, 200)
	s.do(t, "ann", "GET", "/v1/groups/dm%3Aann%3Abob/messages", "").want(t, 200)
	s.do(t, "zoe", "GET", "/v1/groups/dm:ann:bob/messages", "").wantProblem(t, 403, domain.CodeNotMember, "")
	s.do(t, "ann", "GET", "/v1/groups/dm:bob:ann/messages", "").wantProblem(t, 400, domain.CodeBadRequest, "group")
}

func TestRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "g", 3)
	s.do(t, "bob", "POST", "/v1/groups/g/read", `{"seq":2}`).wantJSON(t, 200, `{"group":"g","read_seq":2,"unread":1}`)
	s.do(t, "bob", "POST", "/v1/groups/g/read", `{"seq":1,"user":"bob"}`).wantJSON(t, 200, `{"group":"g","read_seq":2,"unread":1}`)
	s.do(t, "shop", "POST", "/v1/groups/g/read", `{"seq":99,"user":"bob"}`).wantJSON(t, 200, `{"group":"g","read_seq":3,"unread":0}`)
}

func TestSync(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "g", 2)
	s.do(t, "bob", "POST", "/v1/sync", `{"groups":{"g":1,"nope":0,"r":0},"limit":5,"max_bytes":1000}`).wantJSON(t, 200, `{"results":[
		{"group":"g","max_seq":2,"min_seq":1,"read_seq":0,"unread":2,"persisted_seq":0,"messages":[`+messageJSON("g", 2)+`],"holes":[],"more":false},
		{"group":"nope","error":{"code":"not_found","message":"there is no such group","retryable":false}},
		{"group":"r","max_seq":0,"min_seq":1,"read_seq":0,"unread":0,"persisted_seq":0,"messages":[],"holes":[],"more":false}]}`)
	s.do(t, "zoe", "POST", "/v1/sync", `{"groups":{"g":1}}`).wantJSON(t, 200,
		`{"results":[{"group":"g","error":{"code":"not_member","message":"you are not a member of this group","retryable":false}}]}`)
	s.do(t, "bob", "POST", "/v1/sync", `{"groups":{}}`).wantJSON(t, 200, `{"results":[]}`)

	heads := `{"results":[{"group":"g","type":"group","name":"Group","max_seq":2,"read_seq":0,"unread":2,"last_message":` + messageJSON("g", 2) + `}]}`
	s.do(t, "bob", "POST", "/v1/sync", "").wantJSON(t, 200, heads)
	s.do(t, "bob", "POST", "/v1/sync", `{"user":"bob"}`).wantJSON(t, 200, heads)
	s.do(t, "shop", "POST", "/v1/sync", `{"user":"bob"}`).wantJSON(t, 200, heads)
	s.do(t, "zoe", "POST", "/v1/sync", "{}").wantJSON(t, 200, `{"results":[]}`)
}

func TestHotWinsOverAGroup(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "shop", "POST", "/v1/groups", `{"group":"r2","type":"room","name":"Second"}`).want(t, 201)
	s.do(t, "zoe", "GET", "/v1/groups/hot", "").wantJSON(t, 200, `{"snapshot":"room-6y0-ztntfp","time_ms":9000,"window_ms":300000,"groups":[]}`)
	s.fill(t, "r", 2)
	s.fill(t, "g", 1)
	s.fill(t, "r2", 1)
	const first = `{"rank":1,"group":"r","name":"Room","type":"room","heat":2,"online":0,"last_message_ms":2}`
	const second = `{"rank":2,"group":"r2","name":"Second","type":"room","heat":1,"online":0,"last_message_ms":1}`
	const frame = `"snapshot":"room-6y0-7al9ul","time_ms":9000,"window_ms":300000,"groups":`
	s.do(t, "zoe", "GET", "/v1/groups/hot?type=room", "").wantJSON(t, 200, `{`+frame+`[`+first+`,`+second+`]}`)
	s.do(t, "zoe", "GET", "/v1/groups/hot?limit=1", "").wantJSON(t, 200, `{`+frame+`[`+first+`],"cursor":"room-6y0-7al9ul.1"}`)
	s.do(t, "zoe", "GET", "/v1/groups/hot?limit=1&cursor=room-6y0-7al9ul.1", "").wantJSON(t, 200, `{`+frame+`[`+second+`]}`)
	s.do(t, "shop", "GET", "/v1/groups/hot?type=all", "").want(t, 200)
	s.do(t, "shop", "GET", "/v1/groups/hot?type=all&cursor=room-6y0-7al9ul.1", "").wantProblem(t, 400, domain.CodeBadRequest, "cursor")
	s.do(t, "shop", "GET", "/v1/groups/hot?explain=1", "").wantJSON(t, 200, `{`+frame+`[`+
		strings.TrimSuffix(first, "}")+`,"speakers":[{"user":"ann","time_ms":8000}]},`+strings.TrimSuffix(second, "}")+`,"speakers":[]}],"explained_ms":5000}`)
	s.do(t, "shop", "GET", "/v1/groups/hot?explain=0", "").wantJSON(t, 200, `{`+frame+`[`+first+`,`+second+`]}`)
	s.do(t, "zoe", "GET", "/v1/groups/hot?explain=0", "").want(t, 200)
	s.do(t, "zoe", "GET", "/v1/groups/hot?explain=1", "").wantProblem(t, 403, domain.CodeForbidden, "explain")
	s.do(t, "shop", "GET", "/v1/groups/hot?explain=yes", "").wantProblem(t, 400, domain.CodeBadRequest, "explain")
	s.do(t, "zoe", "GET", "/v1/groups/hot?cursor=abc-7.1", "").wantProblem(t, 410, domain.CodeGone, "")
}

func TestMessageRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "r", 1)
	const send, read = "/v1/groups/r/messages", "/v1/groups/r/read"
	many := `["u` + strings.Repeat(`","u`, 50) + `"]`
	groups := &strings.Builder{}
	for i := range 201 {
		fmt.Fprintf(groups, `"x%d":0,`, i)
	}
	for name, c := range map[string]struct {
		who, method, path, body string
		status                  int
		code                    domain.Code
		at                      string
	}{
		"no request body":     {"ann", "POST", send, "", 400, "bad_request", ""},
		"not JSON":            {"ann", "POST", send, "{SECRETVALUE", 400, "bad_request", ""},
		"not an object":       {"ann", "POST", send, `["SECRETVALUE"]`, 400, "bad_request", ""},
		"two objects":         {"ann", "POST", send, text("") + `{}`, 400, "bad_request", ""},
		"unknown field":       {"ann", "POST", send, text(`,"sync":"SECRETVALUE"`), 400, "bad_request", "sync"},
		"group in body":       {"ann", "POST", send, text(`,"group":"r"`), 400, "bad_request", "group"},
		"other case":          {"ann", "POST", send, text(`,"Ack":"durable"`), 400, "bad_request", "Ack"},
		"doubled field":       {"ann", "POST", send, text(`,"ack":"both","ack":"both"`), 400, "bad_request", "ack"},
		"bad UTF-8":           {"ann", "POST", send, "{\"body\":[{\"type\":\"text\",\"text\":\"\xff\"}]}", 400, "bad_request", ""},
		"lone surrogate":      {"ann", "POST", send, `{"body":[{"type":"text","text":"\ud800"}]}`, 400, "bad_request", ""},
		"no body":             {"ann", "POST", send, `{}`, 400, "bad_request", "body"},
		"null body":           {"ann", "POST", send, `{"body":null}`, 400, "bad_request", "body"},
		"empty body":          {"ann", "POST", send, `{"body":[]}`, 400, "bad_request", "body"},
		"no url":              {"ann", "POST", send, `{"body":[{"type":"image"}]}`, 400, "bad_request", "body[0].url"},
		"unknown element":     {"ann", "POST", send, `{"body":[{"type":"SECRETVALUE"}]}`, 400, "bad_request", "body[0].type"},
		"long text":           {"ann", "POST", send, `{"body":[{"type":"text","text":"` + strings.Repeat("x", 12_001) + `"}]}`, 413, "too_large", "body[0].text"},
		"large body":          {"ann", "POST", send, `{"body":[{"type":"text","text":"` + strings.Repeat("x", 12_300) + `"}]}`, 413, "too_large", "body"},
		"huge request":        {"ann", "POST", send, `{"body":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large", ""},
		"bad client_id":       {"ann", "POST", send, text(`,"client_id":"SECRET VALUE"`), 400, "bad_request", "client_id"},
		"bad ack":             {"ann", "POST", send, text(`,"ack":"SECRETVALUE"`), 400, "bad_request", "ack"},
		"bad priority":        {"ann", "POST", send, text(`,"priority":"SECRETVALUE"`), 400, "bad_request", "priority"},
		"echo as text":        {"ann", "POST", send, text(`,"echo":"no"`), 400, "bad_request", "echo"},
		"timeout alone":       {"ann", "POST", send, text(`,"timeout_ms":100`), 400, "bad_request", "timeout_ms"},
		"timeout with both":   {"ann", "POST", send, text(`,"ack":"both","timeout_ms":100`), 400, "bad_request", "timeout_ms"},
		"timeout 0":           {"ann", "POST", send, text(`,"ack":"durable","timeout_ms":0`), 400, "bad_request", "timeout_ms"},
		"long timeout":        {"ann", "POST", send, text(`,"ack":"durable","timeout_ms":10001`), 400, "bad_request", "timeout_ms"},
		"overflowing timeout": {"ann", "POST", send, text(`,"ack":"durable","timeout_ms":9223372036854775807`), 400, "bad_request", "timeout_ms"},
		"reply_to 0":          {"ann", "POST", send, text(`,"reply_to":0`), 400, "bad_request", "reply_to"},
		"reply_to fraction":   {"ann", "POST", send, text(`,"reply_to":1.5`), 400, "bad_request", "reply_to"},
		"bad mention":         {"ann", "POST", send, text(`,"mentions":["a","SECRET VALUE"]`), 400, "bad_request", "mentions[1]"},
		"too many mentions":   {"ann", "POST", send, text(`,"mentions":` + many), 413, "too_large", "mentions"},
		"from another":        {"ann", "POST", send, text(`,"from":"bob"`), 403, "forbidden", "from"},
		"from system":         {"ann", "POST", send, text(`,"from":"system"`), 403, "forbidden", "from"},
		"server's bad from":   {"shop", "POST", send, text(`,"from":"SECRET VALUE"`), 400, "bad_request", "from"},
		"outsider":            {"zoe", "POST", "/v1/groups/g/messages", text(""), 403, "not_member", ""},
		"unknown group":       {"ann", "POST", "/v1/groups/SECRETVALUE/messages", text(""), 404, "not_found", ""},
		"bad group":           {"ann", "POST", "/v1/groups/SECRET%20VALUE/messages", text(""), 400, "bad_request", "group"},

		"pull by outsider":     {"zoe", "GET", "/v1/groups/g/messages", "", 403, "not_member", ""},
		"pull unknown group":   {"ann", "GET", "/v1/groups/nope/messages", "", 404, "not_found", ""},
		"pull bad after_seq":   {"ann", "GET", send + "?after_seq=SECRETVALUE", "", 400, "bad_request", "after_seq"},
		"pull negative":        {"ann", "GET", send + "?before_seq=-1", "", 400, "bad_request", "before_seq"},
		"pull past 2^53":       {"ann", "GET", send + "?before_ms=9007199254740992", "", 400, "bad_request", "before_ms"},
		"pull past int64":      {"ann", "GET", send + "?after_seq=99999999999999999999", "", 400, "bad_request", "after_seq"},
		"pull two bounds":      {"ann", "GET", send + "?after_seq=1&before_seq=0", "", 400, "bad_request", "after_seq"},
		"pull limit 0":         {"ann", "GET", send + "?limit=0", "", 400, "bad_request", "limit"},
		"pull unknown":         {"ann", "GET", send + "?after=1", "", 400, "bad_request", "after"},
		"one that is not":      {"ann", "GET", send + "/2", "", 404, "not_found", ""},
		"one with a bad seq":   {"ann", "GET", send + "/SECRETVALUE", "", 400, "bad_request", "seq"},
		"one with seq 0":       {"ann", "GET", send + "/0", "", 400, "bad_request", "seq"},
		"one of outsider":      {"zoe", "GET", "/v1/groups/g/messages/1", "", 403, "not_member", ""},
		"one with a parameter": {"zoe", "GET", send + "/1?limit=1", "", 400, "bad_request", "limit"},

		"read 0":            {"ann", "POST", read, `{"seq":0}`, 400, "bad_request", "seq"},
		"read without seq":  {"ann", "POST", read, `{}`, 400, "bad_request", "seq"},
		"read text":         {"ann", "POST", read, `{"seq":"SECRETVALUE"}`, 400, "bad_request", "seq"},
		"read for another":  {"ann", "POST", read, `{"seq":1,"user":"bob"}`, 403, "forbidden", "user"},
		"read for nobody":   {"shop", "POST", read, `{"seq":1}`, 400, "bad_request", "user"},
		"read of outsider":  {"zoe", "POST", "/v1/groups/g/read", `{"seq":1}`, 403, "not_member", ""},
		"read in the query": {"ann", "POST", read + "?seq=1", `{"seq":1}`, 400, "bad_request", "seq"},

		"sync too many groups":   {"ann", "POST", "/v1/sync", `{"groups":{` + strings.TrimSuffix(groups.String(), ",") + `}}`, 413, "too_large", "groups"},
		"sync bad seq":           {"ann", "POST", "/v1/sync", `{"groups":{"g":-1}}`, 400, "bad_request", "groups"},
		"sync seq as text":       {"ann", "POST", "/v1/sync", `{"groups":{"g":"SECRETVALUE"}}`, 400, "bad_request", "groups.g"},
		"sync group twice":       {"ann", "POST", "/v1/sync", `{"groups":{"g":1,"g":2}}`, 400, "bad_request", "groups.g"},
		"sync limit 0":           {"ann", "POST", "/v1/sync", `{"groups":{"g":1},"limit":0}`, 400, "bad_request", "limit"},
		"sync max_bytes 0":       {"ann", "POST", "/v1/sync", `{"groups":{"g":1},"max_bytes":0}`, 400, "bad_request", "max_bytes"},
		"sync groups and cursor": {"ann", "POST", "/v1/sync", `{"groups":{"g":1},"cursor":"1.g"}`, 400, "bad_request", "cursor"},
		"sync limit alone":       {"ann", "POST", "/v1/sync", `{"limit":1}`, 400, "bad_request", "limit"},
		"sync max_bytes alone":   {"ann", "POST", "/v1/sync", `{"max_bytes":1}`, 400, "bad_request", "max_bytes"},
		"sync bad cursor":        {"ann", "POST", "/v1/sync", `{"cursor":"SECRETVALUE"}`, 400, "bad_request", "cursor"},
		"sync for another":       {"ann", "POST", "/v1/sync", `{"user":"bob"}`, 403, "forbidden", "user"},
		"sync heads of nobody":   {"shop", "POST", "/v1/sync", ``, 400, "bad_request", "user"},
		"hot groups for users":   {"ann", "GET", "/v1/groups/hot?type=group", "", 403, "forbidden", "type"},
		"hot of another type":    {"shop", "GET", "/v1/groups/hot?type=SECRETVALUE", "", 400, "bad_request", "type"},
		"hot with a bad cursor":  {"ann", "GET", "/v1/groups/hot?cursor=SECRETVALUE", "", 400, "bad_request", "cursor"},
		"hot limit 0":            {"ann", "GET", "/v1/groups/hot?limit=0", "", 400, "bad_request", "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, c.who, c.method, c.path, c.body).wantProblem(t, c.status, c.code, c.at)
		})
	}
	require.Len(t, s.messages["r"], 1, "nothing that was refused is stored")
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for contentType, status := range map[string]int{
		"":                                  201,
		"application/json":                  201,
		"application/json; charset=utf-8":   201,
		"Application/JSON;charset=UTF-8":    201,
		"application/json; charset=latin1":  415,
		"application/merge-patch+json":      415,
		"text/plain":                        415,
		"application/x-www-form-urlencoded": 415,
		"nonsense;;":                        415,
	} {
		r := request(t, "ann", "POST", "/v1/groups/r/messages", text(""))
		r.Header.Del("Content-Type")
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		r.Header.Set("Accept", "text/html")
		got := s.serve(r)
		if status == 415 {
			got.wantProblem(t, status, domain.CodeBadRequest, "")
		} else {
			got.want(t, status)
			require.Equal(t, "application/json", got.Header.Get("Content-Type"))
		}
	}
	r := request(t, "ann", "POST", "/v1/groups/r/messages", text(""))
	r.Header.Set("Content-Encoding", "gzip")
	s.serve(r).wantProblem(t, 415, domain.CodeBadRequest, "")
}

func TestASendWhoseClientIsGoneReturns(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) { f.silent = true })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := request(t, "ann", "POST", "/v1/groups/r/messages", text(""))
	s.serve(r.WithContext(ctx)).wantProblem(t, 503, domain.CodeUnavailable, "")
	require.NotContains(t, s.log.String(), "http request failed")
}

// deadlines records the read deadlines that a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

func TestNoReadDeadlineIsLeftStanding(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s.handler.ServeHTTP(w, request(t, "ann", "POST", "/v1/groups/r/messages", text("")))
	require.Equal(t, 201, w.Code)
	require.False(t, w.set[0].IsZero(), "reading the body has a deadline")
	require.True(t, w.set[len(w.set)-1].IsZero(), "it would end a durable send's wait")
}

type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestBodiesThatDoNotArrive(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for err, status := range map[error]int{io.ErrUnexpectedEOF: 400, timeoutError{io.EOF}: http.StatusRequestTimeout} {
		r := request(t, "ann", "POST", "/v1/groups/r/messages", "x")
		r.Body = io.NopCloser(brokenBody{err})
		s.serve(r).wantProblem(t, status, domain.CodeBadRequest, "")
	}
}

func TestAStoreThatHangsIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.change(func(f *fake) { f.hangs = true })
		started := time.Now()
		s.do(t, "ann", "GET", "/v1/groups", "").wantProblem(t, 503, domain.CodeUnavailable, "")
		require.Equal(t, requestTimeout, time.Since(started))
	})
}

func TestWhatChangesSomethingIsFinishedAlthoughTheCallerHangsUp(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]error{
		"GET": context.Canceled, "POST": nil, "PUT": nil, "PATCH": nil, "DELETE": nil,
	} {
		asked := false
		handler := bounded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked = true
			require.ErrorIs(t, r.Context().Err(), want, method)
			deadline, bound := r.Context().Deadline()
			require.True(t, bound, method)
			require.LessOrEqual(t, time.Until(deadline), requestTimeout, method)
		}))
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, method, "/v1/groups", http.NoBody))
		require.True(t, asked, method)
	}
}

func TestRecall(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "g", 3)
	const path = "/v1/groups/g/messages/"
	s.do(t, "ann", "DELETE", path+"2", "").want(t, 204)
	s.do(t, "shop", "DELETE", path+"3", "").want(t, 204)
	require.Equal(t, []int64{2, 3}, []int64{s.recalls[0].Seq, s.recalls[1].Seq})
	require.Equal(t, "ann", s.recalls[0].By)
	s.do(t, "ann", "DELETE", path+"404", "").wantProblem(t, 404, domain.CodeNotFound, "")
	for _, seq := range []string{"0", "-1", "x", "9007199254740992"} {
		s.do(t, "ann", "DELETE", path+seq, "").wantProblem(t, 400, domain.CodeBadRequest, "seq")
	}
	s.do(t, "", "DELETE", path+"2", "").wantProblem(t, 401, domain.CodeUnauthorized, "")

	const all = "/v1/groups/g/messages?after_seq="
	for query, want := range map[string]string{
		"3&recalled_after_ms=1699999999999": `"recalled":[2,3]`,
		"2&recalled_after_ms=0":             `"recalled":[2]`,
		"3&recalled_after_ms=1700000000000": `"recalled":[]`,
	} {
		require.Contains(t, s.do(t, "ann", "GET", all+query, "").want(t, 200).body, want, query)
	}
	require.NotContains(t, s.do(t, "ann", "GET", all+"3", "").want(t, 200).body, "recalled")
	s.do(t, "ann", "GET", "/v1/groups/g/messages?recalled_after_ms=1", "").wantProblem(t, 400, domain.CodeBadRequest, "recalled_after_ms")
	s.do(t, "ann", "GET", all+"3&recalled_after_ms=-1", "").wantProblem(t, 400, domain.CodeBadRequest, "recalled_after_ms")

	r := s.do(t, "ann", "POST", "/v1/sync", `{"groups":{"g":3,"nowhere":1},"recalled_after_ms":0}`).want(t, 200)
	require.Contains(t, r.body, `"recalled":[2,3]`)
	s.do(t, "ann", "POST", "/v1/sync", `{"recalled_after_ms":0}`).wantProblem(t, 400, domain.CodeBadRequest, "recalled_after_ms")
}
