package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// example is what an operation may be asked and answer; "" where there is no body.
type example struct{ request, answer string }

const (
	aGroup = `{"group":"tea","type":"room","name":"Tea","avatar":"https://example.com/tea.png","join":"open","owner":"ann",` +
		`"attributes":{"topic":"green"},"muted":false,"member_count":2,"online":1,"max_seq":17,"created_ms":1795266600000}`
	aMessage = `{"group":"tea","seq":17,"time_ms":1795266606268,"from":"ann","body":[{"type":"text","text":"hello"}],"client_id":"c-17"}`
	aMember  = `{"user":"bob","role":"member","joined_ms":1795266601000}`
	aSend    = `{"body":[{"type":"text","text":"hello"}],"client_id":"c-17","mentions":["bob"],"reply_to":16}`
	aReceipt = `{"group":"tea","seq":17,"time_ms":1795266606268,"duplicate":false,"durable":false,"persisted_seq":16}`
)

// examples has one entry for each operation with a body, by its id.
var examples = map[string]example{
	"createGroup": {
		`{"group":"tea","type":"room","name":"Tea","avatar":"https://example.com/tea.png","members":["bob"],"attributes":{"topic":"green"}}`,
		aGroup,
	},
	"listGroups":  {"", `{"groups":[` + aGroup + `],"cursor":"dGVh"}`},
	"getGroup":    {"", aGroup},
	"updateGroup": {`{"name":"Tea","attributes":{"topic":"green"}}`, aGroup},
	"joinGroup":   {`{}`, aMember},
	"leaveGroup":  {`{}`, ""},
	"listMembers": {"", `{"members":[{"user":"ann","role":"owner","joined_ms":1795266600000},` +
		`{"user":"bob","role":"member","joined_ms":1795266601000,"mute_until_ms":1795267201000}],"cursor":"Ym9i"}`},
	"addMembers":   {`{"members":["bob"]}`, `{"members":[` + aMember + `]}`},
	"updateMember": {`{"role":"admin","mute_ms":0}`, `{"user":"bob","role":"admin","joined_ms":1795266601000}`},
	"sendMessage":  {aSend, aReceipt},
	"sendDirect": {
		`{"body":[{"type":"image","url":"https://example.com/cat.jpg","width":640,"height":480}],"client_id":"c-18","ack":"durable"}`,
		`{"group":"dm:ann:bob","seq":1,"time_ms":1795266606268,"duplicate":false,"durable":true,"persisted_seq":1,"peer_online":true}`,
	},
	"pullMessages": {"", `{"group":"tea","max_seq":17,"min_seq":1,"messages":[` + aMessage + `],"holes":[{"from":12,"to":16,"reason":"lost"}],"more":false}`},
	"getMessage":   {"", aMessage},
	"markRead":     {`{"seq":17}`, `{"group":"tea","read_seq":17,"unread":0}`},
	"listReaders":  {"", `{"seq":17,"read_count":1,"users":["bob"]}`},
	"sync": {
		`{"groups":{"tea":16,"chess":0},"limit":50}`,
		`{"results":[{"group":"tea","max_seq":17,"min_seq":1,"read_seq":17,"unread":0,"persisted_seq":17,"messages":[` + aMessage + `],"holes":[],"more":false},` +
			`{"group":"chess","error":{"code":"not_member","message":"you are not a member of this group","retryable":false}}]}`,
	},
	"hotGroups": {"", `{"snapshot":"room-mwr4b8k4-5mnj9g","time_ms":1795266606000,"window_ms":300000,"groups":[` +
		`{"rank":1,"group":"tea","name":"Tea","type":"room","heat":2,"online":1,"last_message_ms":1795266606268}],"cursor":"room-mwr4b8k4-5mnj9g.1"}`},
	"createUpload": {
		`{"name":"cat.jpg","content_type":"image/jpeg","bytes":48213}`,
		`{"upload_url":"/v1/uploads/5d41402abc4b2a76b9719d911017c592/cat.jpg?bytes=48213&content_type=image%2Fjpeg&expires_ms=1795267506268&signature=jJ0c","method":"PUT",` +
			`"headers":{"Content-Type":"image/jpeg"},"url":"/v1/uploads/5d41402abc4b2a76b9719d911017c592/cat.jpg","expires_ms":1795267506268}`,
	},
	"sendSignal":  {`{"kind":"typing","data":{"on":true}}`, ""},
	"getPresence": {"", `{"users":{"bob":{"online":false,"devices":[],"last_seen_ms":1795266606268}}}`},
	"getHealth":   {"", `{"ok":true}`},
	"getReadiness": {"", `{"ready":true,"degraded":false,"checks":{"redis":{"ok":true,"age_ms":420,"detail":"answers in 0.4ms"},` +
		`"mysql":{"ok":true,"age_ms":420,"detail":"answers in 0.9ms"}}}`},
}

// addExamples puts the examples into their operations. What has none goes without; a test finds it.
func addExamples(spec *huma.OpenAPI) error {
	for _, op := range operations(spec) {
		ex := examples[op.OperationID]
		if err := setExample(jsonBody(op), ex.request); err != nil {
			return fmt.Errorf("httpapi: request example of %s: %w", op.OperationID, err)
		}
		for _, status := range []string{"200", "201"} {
			if response := op.Responses[status]; response != nil {
				if err := setExample(response.Content["application/json"], ex.answer); err != nil {
					return fmt.Errorf("httpapi: answer example of %s: %w", op.OperationID, err)
				}
			}
		}
	}
	return nil
}

// setExample keeps numbers as they are written: as floats the times would be shown in powers of ten.
func setExample(content *huma.MediaType, text string) error {
	if content == nil || text == "" {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(&content.Example)
}
