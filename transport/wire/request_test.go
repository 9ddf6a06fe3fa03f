package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestParseRequestReadsIDs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]ID{"0": 0, "1": 1, "9007199254740991": 1<<53 - 1} {
		r, ok, err := ParseRequest([]byte(`{"id":` + raw + `,"op":"ping"}`))
		require.NoError(t, err, raw)
		require.True(t, ok)
		require.Equal(t, want, r.ID)
	}
	for _, raw := range []string{
		"-1", "1.0", "1e3", "1E0", "0.5", `"1"`, "9007199254740992", "99999999999999999999", "null", "true", "[1]", "{}", `""`,
	} {
		r, ok, err := ParseRequest([]byte(`{"id":` + raw + `,"op":"ping"}`))
		requireCode(t, err, domain.CodeBadRequest, "id")
		require.True(t, ok, "%s: an object with an op is not a bad frame", raw)
		require.Equal(t, NoID, r.ID)
		require.Equal(t, "ping", r.Op)
	}
	r, ok, err := ParseRequest([]byte(`{"op":"ping"}`))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, NoID, r.ID)
}

func TestWhatOnlyTheStrictLookRefusesKeepsItsID(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{"id":7,"op":"ping","op":"ping"}`:                                                 "op",
		`{"id":7,"op":"send","group":"g","group":"g"}`:                                     "group",
		`{"id":7,"op":"send","group":"g","body":[{"type":"custom","data":{"a":1,"a":2}}]}`: "body[0].data.a",
	} {
		r, ok, err := ParseRequest([]byte(raw))
		require.NoError(t, err, raw)
		require.True(t, ok, raw)
		require.Equal(t, ID(7), r.ID, raw)
		requireCode(t, r.Decode(&SendRequest{}), domain.CodeBadRequest, field)
	}
	r, ok, err := ParseRequest([]byte(`{"id":7,"op":"send","group":"\ud800"}`))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ID(7), r.ID)
	requireCode(t, r.Decode(&SendRequest{}), domain.CodeBadRequest, "")
}

func TestParseRequestTellsBadFrames(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		``:                     "",
		`x`:                    "",
		`1`:                    "",
		`"ping"`:               "",
		`[]`:                   "",
		`[{"op":"ping"}]`:      "",
		`{`:                    "",
		`{"op":"ping"`:         "",
		`{"op":"ping"} `:       "-",
		`{"op":"ping"}{}`:      "",
		`{"op":"ping"},`:       "",
		`{op:"ping"}`:          "",
		`{}`:                   "op",
		`null`:                 "op",
		`{"id":1}`:             "op",
		`{"id":1,"Op":"ping"}`: "op",
		`{"id":1,"op":null}`:   "op",
		`{"id":1,"op":""}`:     "op",
		`{"id":1,"op":7}`:      "op",
		`{"op":"x","a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`: "",
	} {
		_, ok, err := ParseRequest([]byte(raw))
		if field == "-" {
			require.NoError(t, err, raw)
			require.True(t, ok)
			continue
		}
		require.Error(t, err, "%.40s", raw)
		require.False(t, ok, "%.40s", raw)
		requireCode(t, err, domain.CodeBadRequest, field)
	}
}

func TestParseRequestPassesUnknownFieldsOver(t *testing.T) {
	t.Parallel()
	r, ok, err := ParseRequest([]byte(` {"group":"g","extra":{"x":[]},"op":"nonsense","id":7}`))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ID(7), r.ID)
	require.Equal(t, "nonsense", r.Op)
}

// decodeAs decodes an object as the request of its op.
func decodeAs[T any](t testing.TB, object string) (T, error) {
	t.Helper()
	var v T
	r, ok, err := ParseRequest([]byte(object))
	require.NoError(t, err, object)
	require.True(t, ok, object)
	return v, r.Decode(&v)
}

func TestDecodeReadsEveryRequest(t *testing.T) {
	t.Parallel()
	send, err := decodeAs[SendRequest](t, `{"id":1,"op":"send","group":"g","body":[{"type":"text","text":"a"}],"client_id":"c","ack":"durable",
		"timeout_ms":5,"echo":false,"mentions":["bob"],"reply_to":3,"priority":"high"}`)
	require.NoError(t, err)
	require.Equal(t, `[{"type":"text","text":"a"}]`, string(send.Body))
	send.Body, send.envelope = nil, envelope{}
	require.Equal(t, SendRequest{
		Group: ptr("g"), ClientID: ptr("c"), Ack: ptr("durable"), TimeoutMS: ptr(int64(5)), Echo: ptr(false),
		Mentions: []string{"bob"}, ReplyTo: ptr(int64(3)), Priority: ptr("high"),
	}, send)

	subscribe, err := decodeAs[SubscribeRequest](t, `{"op":"subscribe","group":"g","after_seq":0,"limit":5}`)
	require.NoError(t, err)
	require.Equal(t, int64(0), *subscribe.AfterSeq, "0 is not missing")
	require.Equal(t, 5, *subscribe.Limit)

	sync, err := decodeAs[SyncRequest](t, `{"op":"sync","groups":{},"limit":1,"max_bytes":2,"cursor":""}`)
	require.NoError(t, err)
	require.NotNil(t, sync.Groups, "an empty object is not missing")

	sync, err = decodeAs[SyncRequest](t, `{"op":"sync"}`)
	require.NoError(t, err)
	require.Nil(t, sync.Groups)

	pull, err := decodeAs[PullRequest](t, `{"op":"pull","group":"g","after_seq":1,"before_seq":2,"before_ms":3,"limit":4}`)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3}, []int64{*pull.AfterSeq, *pull.BeforeSeq, *pull.BeforeMS})

	read, err := decodeAs[ReadRequest](t, `{"op":"read","group":"g","seq":9007199254740991}`)
	require.NoError(t, err)
	require.Equal(t, int64(1<<53-1), *read.Seq)

	send, err = decodeAs[SendRequest](t, `{"op":"send","to":"bob","body":[]}`)
	require.NoError(t, err)
	require.Equal(t, ptr("bob"), send.To)
	require.Nil(t, send.Group)

	signal, err := decodeAs[SignalRequest](t, `{"id":1,"op":"signal","group":"g","kind":"typing","data":{"a":[1,null]}}`)
	require.NoError(t, err)
	require.Equal(t, `{"a":[1,null]}`, string(signal.Data))
	signal.Data, signal.envelope = nil, envelope{}
	require.Equal(t, SignalRequest{Group: ptr("g"), Kind: "typing"}, signal)
	signal, err = decodeAs[SignalRequest](t, `{"op":"signal","to":"bob","kind":"typing","data":null}`)
	require.NoError(t, err)
	require.Equal(t, ptr("bob"), signal.To)
	require.Equal(t, "null", string(signal.Data), "null is JSON, too")

	presence, err := decodeAs[PresenceRequest](t, `{"op":"presence","users":["ann","bob"]}`)
	require.NoError(t, err)
	require.Equal(t, []string{"ann", "bob"}, presence.Users)

	refresh, err := decodeAs[RefreshRequest](t, `{"op":"refresh","token":"x.y.z"}`)
	require.NoError(t, err)
	require.Equal(t, "x.y.z", *refresh.Token)

	_, err = decodeAs[GroupRequest](t, `{"op":"unsubscribe","group":"g"}`)
	require.NoError(t, err)
	_, err = decodeAs[PingRequest](t, `{"id":1,"op":"ping"}`)
	require.NoError(t, err)
}

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ object, field string }{
		{`{"op":"send","Group":"g"}`, "Group"},
		{`{"op":"send","GROUP":"g"}`, "GROUP"},
		{`{"op":"send","clientId":"c"}`, "clientId"},
		{`{"op":"send","group":7}`, "group"},
		{`{"op":"send","group":["g"]}`, "group"},
		{`{"op":"send","ack":true}`, "ack"},
		{`{"op":"send","echo":"false"}`, "echo"},
		{`{"op":"send","echo":0}`, "echo"},
		{`{"op":"send","timeout_ms":"1"}`, "timeout_ms"},
		{`{"op":"send","timeout_ms":1.5}`, "timeout_ms"},
		{`{"op":"send","reply_to":1e2}`, "reply_to"},
		{`{"op":"send","reply_to":9223372036854775808}`, "reply_to"},
		{`{"op":"send","mentions":"bob"}`, "mentions"},
		{`{"op":"send","mentions":["bob",7]}`, "mentions[1]"},
		{`{"op":"send","mentions":{}}`, "mentions"},
		{`{"op":"send","flags":1}`, "flags"},
		{`{"op":"send","to":7}`, "to"},
		{`{"op":"send","To":"bob"}`, "To"},
		{`{"op":"send","a b":1}`, "?"},
		{`{"op":"send","` + strings.Repeat("x", 41) + `":1}`, "?"},
	} {
		_, err := decodeAs[SendRequest](t, c.object)
		require.Error(t, err, c.object)
		requireCode(t, err, domain.CodeBadRequest, c.field)
	}
	_, err := decodeAs[SyncRequest](t, `{"op":"sync","groups":{"g":"1"}}`)
	requireCode(t, err, domain.CodeBadRequest, "groups.g")
	_, err = decodeAs[PingRequest](t, `{"op":"ping","group":"g"}`)
	requireCode(t, err, domain.CodeBadRequest, "group")
	for object, field := range map[string]string{
		`{"op":"signal","Kind":"a"}`:                  "Kind",
		`{"op":"signal","kind":7}`:                    "kind",
		`{"op":"signal","group":7}`:                   "group",
		`{"op":"signal","to":["bob"]}`:                "to",
		`{"op":"signal","kind":"a","kind":"b"}`:       "kind",
		`{"op":"signal","data":{"a":1,"a":2}}`:        "data.a",
		`{"op":"signal","kind":"a","seq":1}`:          "seq",
		`{"op":"signal","kind":"a","after":{"b":[]}}`: "after",
	} {
		_, err := decodeAs[SignalRequest](t, object)
		require.Error(t, err, object)
		requireCode(t, err, domain.CodeBadRequest, field)
	}
	for object, field := range map[string]string{
		`{"op":"presence","users":"ann"}`: "users", `{"op":"presence","users":[7]}`: "users[0]",
		`{"op":"presence","Users":[]}`: "Users", `{"op":"presence","user":"ann"}`: "user",
	} {
		_, err := decodeAs[PresenceRequest](t, object)
		require.Error(t, err, object)
		requireCode(t, err, domain.CodeBadRequest, field)
	}
	for object, field := range map[string]string{
		`{"op":"refresh","token":7}`: "token", `{"op":"refresh","Token":"x"}`: "Token", `{"op":"refresh","expires_ms":1}`: "expires_ms",
	} {
		_, err := decodeAs[RefreshRequest](t, object)
		require.Error(t, err, object)
		requireCode(t, err, domain.CodeBadRequest, field)
	}
}

func TestDecodeOfAnyValueIsStrict(t *testing.T) {
	t.Parallel()
	type inner struct {
		A int `json:"a"`
	}
	type value struct {
		Name string  `json:"name"`
		List []inner `json:"list"`
	}
	var v value
	require.NoError(t, Decode([]byte(` {"name":"n","list":[{"a":1}]} `), &v))
	require.Equal(t, value{"n", []inner{{1}}}, v)
	for raw, field := range map[string]string{
		``:                             "",
		`{"name":"n"} {}`:              "",
		`{"name":"n"}x`:                "",
		`[]`:                           "",
		`{"name":"` + "\xff" + `"}`:    "",
		`{"Name":"n"}`:                 "Name",
		`{"name":"n","name":"n"}`:      "name",
		`{"list":[{"a":1},{"b":1}]}`:   "list[1].b",
		`{"list":[{"a":1},{"a":"x"}]}`: "list[1].a",
		`{"list":[{"a":1,"a":1}]}`:     "list[0].a",
	} {
		requireCode(t, Decode([]byte(raw), &v), domain.CodeBadRequest, field)
	}
}

func TestCloneDoesNotShareTheFrame(t *testing.T) {
	t.Parallel()
	frame := []byte(`{"op":"unsubscribe","group":"g"}`)
	r, _, err := ParseRequest(frame)
	require.NoError(t, err)
	r = r.Clone()
	copy(frame, bytes.Repeat([]byte("x"), len(frame)))
	var q GroupRequest
	require.NoError(t, r.Decode(&q))
	require.Equal(t, "g", q.Group)
}

func TestObjectsSplitsFrames(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string][]string{
		"":                                   nil,
		" ":                                  nil,
		"\n":                                 nil,
		" \n\t\r\n ":                         nil,
		"{}":                                 {"{}"},
		" {} ":                               {"{}"},
		"{}\n":                               {"{}"},
		"\n{}\n\n[]\r\nx":                    {"{}", "[]", "x"},
		"{\"a\":\n1}":                        {`{"a":`, "1}"}, // an object holds no raw newline
		strings.Repeat("1\n", 300):           strings.Split(strings.Repeat("1 ", 299)+"1", " "),
		`{"op":"ping"}` + "\n{\"op\":\"x\"}": {`{"op":"ping"}`, `{"op":"x"}`},
	} {
		var got []string
		for _, object := range Objects([]byte(frame)) {
			got = append(got, string(object))
		}
		require.Equal(t, want, got, "%.40q", frame)
	}
}
