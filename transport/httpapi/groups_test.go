package httpapi

import (
	"strings"
	"testing"

	"hearth/domain"
)

const roomJSON = `{"group":"r","type":"room","name":"Room","avatar":"","join":"open","owner":"ann","attributes":{},
	"muted":false,"member_count":1,"online":0,"max_seq":0,"created_ms":1000}`

func TestCreateGroup(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	r := s.do(t, "ann", "POST", "/v1/groups",
		`{"type":"group","name":"A <b>","avatar":"https://x/y","members":["bob","cid"],"attributes":{ "k" : [1, 2] }}`)
	r.wantJSON(t, 201, `{"group":"made-1","type":"group","name":"A <b>","avatar":"https://x/y","join":"invite","owner":"ann",
		"attributes":{"k":[1,2]},"muted":false,"member_count":3,"online":0,"max_seq":0,"created_ms":1000}`)
	if got := r.Header.Get("Location"); got != "/v1/groups/made-1" {
		t.Fatalf("Location %q", got)
	}
	s.do(t, "shop", "POST", "/v1/groups", `{"group":"a#1","type":"room","name":"N"}`).want(t, 201)
	s.do(t, "shop", "POST", "/v1/groups", `{"group":"s2","type":"room","name":"N","owner":"bob"}`).want(t, 201)
	s.do(t, "bob", "POST", "/v1/groups", `{"group":"s3","type":"room","name":"N","owner":"bob"}`).want(t, 201)
	s.do(t, "ann", "GET", "/v1/groups/a%231", "").want(t, 200)
}

func TestGroupAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "zoe", "GET", "/v1/groups/r", "").wantJSON(t, 200, roomJSON)
	s.do(t, "shop", "GET", "/v1/groups", "").want(t, 200)
	s.do(t, "bob", "GET", "/v1/groups?limit=1", "").wantJSON(t, 200, `{"groups":[{"group":"g","type":"group","name":"Group",
		"avatar":"","join":"invite","owner":"ann","attributes":{},"muted":false,"member_count":2,"online":0,"max_seq":0,"created_ms":1000}]}`)
	s.do(t, "zoe", "GET", "/v1/groups", "").wantJSON(t, 200, `{"groups":[]}`)
	first := s.do(t, "ann", "GET", "/v1/groups?limit=1", "").want(t, 200)
	if !strings.Contains(first.body, `"cursor":"g"`) {
		t.Fatal(first.body)
	}
	s.do(t, "ann", "GET", "/v1/groups?limit=1&cursor=g", "").wantJSON(t, 200, `{"groups":[`+roomJSON+`]}`)
	s.do(t, "shop", "GET", "/v1/groups?user=zoe", "").wantJSON(t, 200, `{"groups":[]}`)
	s.do(t, "ann", "GET", "/v1/groups?user=ann", "").want(t, 200)

	s.do(t, "ann", "DELETE", "/v1/groups/r", "").want(t, 204)
	s.do(t, "ann", "GET", "/v1/groups/r", "").wantProblem(t, 410, domain.CodeGone, "")
	s.do(t, "ann", "POST", "/v1/groups", `{"group":"r","type":"room","name":"N"}`).wantProblem(t, 410, domain.CodeGone, "")
	s.do(t, "shop", "DELETE", "/v1/groups/g", "").want(t, 204)
}

func TestMemberAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const bob = `{"user":"bob","role":"member","joined_ms":1000}`
	const ann = `{"user":"ann","role":"owner","joined_ms":1000}`
	s.do(t, "bob", "POST", "/v1/groups/r/join", "").wantJSON(t, 200, bob)
	s.do(t, "bob", "POST", "/v1/groups/r/join", `{"user":"bob"}`).wantJSON(t, 200, bob)
	s.do(t, "ann", "POST", "/v1/groups/r/join", `{}`).wantJSON(t, 200, ann)
	s.do(t, "zoe", "GET", "/v1/groups/r/members", "").wantJSON(t, 200, `{"members":[`+ann+`,`+bob+`]}`)
	s.do(t, "zoe", "GET", "/v1/groups/r/members?limit=1", "").wantJSON(t, 200, `{"members":[`+ann+`],"cursor":"ann"}`)
	s.do(t, "zoe", "GET", "/v1/groups/r/members?limit=1&cursor=ann", "").wantJSON(t, 200, `{"members":[`+bob+`]}`)
	s.do(t, "bob", "POST", "/v1/groups/r/leave", "").want(t, 204)

	s.do(t, "ann", "POST", "/v1/groups/g/members", `{"members":["bob","cid"]}`).
		wantJSON(t, 200, `{"members":[`+bob+`,{"user":"cid","role":"member","joined_ms":1000}]}`)
	s.do(t, "ann", "DELETE", "/v1/groups/g/members/cid", "").want(t, 204)
	s.do(t, "ann", "DELETE", "/v1/groups/g/members/cid", "").wantProblem(t, 404, domain.CodeNotFound, "")

	s.do(t, "shop", "POST", "/v1/groups/g/join", `{"user":"dan"}`).wantJSON(t, 200, `{"user":"dan","role":"member","joined_ms":1000}`)
	s.do(t, "shop", "POST", "/v1/groups/g/leave", `{"user":"dan"}`).want(t, 204)
	s.change(func(f *fake) {
		f.members["g"]["eve"] = domain.Membership{User: "eve", Role: domain.Member, JoinedMS: 7, MuteUntilMS: -1}
	})
	s.do(t, "shop", "GET", "/v1/groups/g/members?cursor=bob", "").
		wantJSON(t, 200, `{"members":[{"user":"eve","role":"member","joined_ms":7,"mute_until_ms":-1}]}`)
}

func TestChangedGroupAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "ann", "PATCH", "/v1/groups/r", `{"name":"A <b>","avatar":"https://x/y","join":"invite","muted":true,"member_limit":5,"attributes":{ "k" : [1, 2] }}`).
		wantJSON(t, 200, `{"group":"r","type":"room","name":"A <b>","avatar":"https://x/y","join":"invite","owner":"ann",
			"attributes":{"k":[1,2]},"muted":true,"member_count":1,"online":0,"max_seq":0,"created_ms":1000}`)
	s.do(t, "shop", "PATCH", "/v1/groups/r", `{"avatar":"","attributes":{}}`).want(t, 200)
	s.do(t, "bob", "GET", "/v1/groups/r", "").wantJSON(t, 200, `{"group":"r","type":"room","name":"A <b>","avatar":"","join":"invite",
		"owner":"ann","attributes":{},"muted":true,"member_count":1,"online":0,"max_seq":0,"created_ms":1000}`)
}

func TestChangedMemberAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const path = "/v1/groups/g/members/bob"
	s.do(t, "ann", "PATCH", path, `{"mute_ms":1000}`).wantJSON(t, 200, `{"user":"bob","role":"member","joined_ms":1000,"mute_until_ms":6000}`)
	s.do(t, "ann", "PATCH", path, `{"mute_ms":-1}`).wantJSON(t, 200, `{"user":"bob","role":"member","joined_ms":1000,"mute_until_ms":-1}`)
	s.do(t, "shop", "PATCH", path, `{"role":"admin","mute_ms":0}`).wantJSON(t, 200, `{"user":"bob","role":"admin","joined_ms":1000}`)
	s.do(t, "ann", "PATCH", "/v1/groups/r/members/zoe", `{"mute_ms":-1}`).wantJSON(t, 200, `{"user":"zoe","role":null,"mute_until_ms":-1}`)
	for range 2 {
		s.do(t, "ann", "PUT", "/v1/groups/g/blocked/zoe", "").want(t, 204)
		s.do(t, "zoe", "POST", "/v1/groups/g/join", "").wantProblem(t, 403, "forbidden", "")
	}
	for range 2 {
		s.do(t, "shop", "DELETE", "/v1/groups/g/blocked/zoe", "").want(t, 204)
	}
	s.do(t, "zoe", "GET", "/v1/groups/g", "").wantProblem(t, 403, "not_member", "")
}

func TestGroupRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	many := `["u` + strings.Repeat(`","u`, 500) + `"]`
	for name, c := range map[string]struct {
		who, method, path, body string
		status                  int
		code                    domain.Code
		at                      string
	}{
		"no type":               {"ann", "POST", "/v1/groups", `{"name":"N"}`, 400, "bad_request", "type"},
		"bad type":              {"ann", "POST", "/v1/groups", `{"type":"SECRETVALUE","name":"N"}`, 400, "bad_request", "type"},
		"no name":               {"ann", "POST", "/v1/groups", `{"type":"room"}`, 400, "bad_request", "name"},
		"name of another type":  {"ann", "POST", "/v1/groups", `{"type":"room","name":["SECRETVALUE"]}`, 400, "bad_request", "name"},
		"long name":             {"ann", "POST", "/v1/groups", `{"type":"room","name":"` + strings.Repeat("n", 257) + `"}`, 413, "too_large", "name"},
		"bad join":              {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","join":"SECRETVALUE"}`, 400, "bad_request", "join"},
		"bad id":                {"ann", "POST", "/v1/groups", `{"group":"SECRETVALUE !","type":"room","name":"N"}`, 400, "bad_request", "group"},
		"reserved id":           {"ann", "POST", "/v1/groups", `{"group":"hot","type":"room","name":"N"}`, 400, "bad_request", "group"},
		"id in use":             {"ann", "POST", "/v1/groups", `{"group":"r","type":"room","name":"N"}`, 409, "conflict", ""},
		"bad member":            {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","members":["a","SECRETVALUE !"]}`, 400, "bad_request", "members[1]"},
		"system as member":      {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","members":["system"]}`, 400, "bad_request", "members[0]"},
		"too many members":      {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","members":` + many + `}`, 413, "too_large", "members"},
		"attributes array":      {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","attributes":["SECRETVALUE"]}`, 400, "bad_request", "attributes"},
		"attributes null":       {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","attributes":null}`, 400, "bad_request", "attributes"},
		"attributes too large":  {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","attributes":{"a":"` + strings.Repeat("n", 4096) + `"}}`, 413, "too_large", "attributes"},
		"doubled in attributes": {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","attributes":{"a":1,"a":2}}`, 400, "bad_request", "attributes.a"},
		"other's owner":         {"ann", "POST", "/v1/groups", `{"type":"room","name":"N","owner":"bob"}`, 403, "forbidden", "owner"},
		"bad owner":             {"shop", "POST", "/v1/groups", `{"type":"room","name":"N","owner":"system"}`, 400, "bad_request", "owner"},

		"unknown group":       {"ann", "GET", "/v1/groups/SECRETVALUE", "", 404, "not_found", ""},
		"bad group id":        {"ann", "GET", "/v1/groups/SECRET%20VALUE", "", 400, "bad_request", "group"},
		"slash in group id":   {"ann", "GET", "/v1/groups/a%2Fb", "", 400, "bad_request", "group"},
		"outsider":            {"zoe", "GET", "/v1/groups/g", "", 403, "not_member", ""},
		"dismissing member":   {"bob", "DELETE", "/v1/groups/g", "", 403, "forbidden", ""},
		"dismissing outsider": {"zoe", "DELETE", "/v1/groups/g", "", 403, "not_member", ""},
		"body on DELETE":      {"ann", "DELETE", "/v1/groups/g", "{}", 400, "bad_request", ""},
		"bad cursor":          {"ann", "GET", "/v1/groups?cursor=SECRET+VALUE", "", 400, "bad_request", "cursor"},
		"limit 0":             {"ann", "GET", "/v1/groups?limit=0", "", 400, "bad_request", "limit"},
		"limit text":          {"ann", "GET", "/v1/groups?limit=SECRETVALUE", "", 400, "bad_request", "limit"},
		"limit empty":         {"ann", "GET", "/v1/groups?limit=", "", 400, "bad_request", "limit"},
		"limit without =":     {"ann", "GET", "/v1/groups?limit", "", 400, "bad_request", "limit"},
		"limit twice":         {"ann", "GET", "/v1/groups?limit=1&limit=2", "", 400, "bad_request", "limit"},
		"unknown parameter":   {"ann", "GET", "/v1/groups?limits=SECRETVALUE", "", 400, "bad_request", "limits"},
		"parameter's case":    {"ann", "GET", "/v1/groups?Limit=1", "", 400, "bad_request", "Limit"},
		"strange parameter":   {"ann", "GET", "/v1/groups?%3CSECRETVALUE%3E=1", "", 400, "bad_request", "?"},
		"malformed query":     {"ann", "GET", "/v1/groups?limit=%zzSECRETVALUE", "", 400, "bad_request", ""},
		"bad UTF-8 in query":  {"ann", "GET", "/v1/groups?cursor=%ff", "", 400, "bad_request", "cursor"},
		"others' groups":      {"ann", "GET", "/v1/groups?user=bob", "", 403, "forbidden", "user"},

		"joining a closed group":  {"zoe", "POST", "/v1/groups/g/join", "", 403, "forbidden", ""},
		"joining for another":     {"zoe", "POST", "/v1/groups/r/join", `{"user":"bob"}`, 403, "forbidden", "user"},
		"joining for nobody":      {"shop", "POST", "/v1/groups/r/join", "", 400, "bad_request", "user"},
		"joining as system":       {"shop", "POST", "/v1/groups/r/join", `{"user":"system"}`, 400, "bad_request", "user"},
		"join with unknown field": {"zoe", "POST", "/v1/groups/r/join", `{"force":true}`, 400, "bad_request", "force"},
		"owner leaving":           {"ann", "POST", "/v1/groups/g/leave", "", 409, "conflict", ""},
		"outsider leaving":        {"zoe", "POST", "/v1/groups/g/leave", "", 403, "not_member", ""},
		"leaving for nobody":      {"shop", "POST", "/v1/groups/g/leave", "", 400, "bad_request", "user"},
		"leaving for another":     {"ann", "POST", "/v1/groups/g/leave", `{"user":"bob"}`, 403, "forbidden", "user"},

		"members to outsider":    {"zoe", "GET", "/v1/groups/g/members", "", 403, "not_member", ""},
		"members bad limit":      {"ann", "GET", "/v1/groups/g/members?limit=-1", "", 400, "bad_request", "limit"},
		"members bad cursor":     {"ann", "GET", "/v1/groups/g/members?cursor=a:b", "", 400, "bad_request", "cursor"},
		"adding nobody":          {"ann", "POST", "/v1/groups/g/members", `{}`, 400, "bad_request", "members"},
		"adding without body":    {"ann", "POST", "/v1/groups/g/members", "", 400, "bad_request", ""},
		"adding by member":       {"bob", "POST", "/v1/groups/g/members", `{"members":["zoe"]}`, 403, "forbidden", ""},
		"adding by outsider":     {"zoe", "POST", "/v1/groups/g/members", `{"members":["zoe"]}`, 403, "not_member", ""},
		"adding too many":        {"ann", "POST", "/v1/groups/g/members", `{"members":` + many + `}`, 413, "too_large", "members"},
		"adding a number":        {"ann", "POST", "/v1/groups/g/members", `{"members":["a",5]}`, 400, "bad_request", "members[1]"},
		"removing by member":     {"bob", "DELETE", "/v1/groups/g/members/ann", "", 403, "forbidden", ""},
		"removing the owner":     {"ann", "DELETE", "/v1/groups/g/members/ann", "", 403, "forbidden", ""},
		"removing a bad user id": {"ann", "DELETE", "/v1/groups/g/members/SECRET%20VALUE", "", 400, "bad_request", "user"},
		"removing who is not in": {"shop", "DELETE", "/v1/groups/g/members/zoe", "", 404, "not_found", ""},
		"changing nothing":       {"ann", "PATCH", "/v1/groups/g", `{}`, 400, "bad_request", ""},
		"changing without body":  {"ann", "PATCH", "/v1/groups/g", "", 400, "bad_request", ""},
		"changing the type":      {"ann", "PATCH", "/v1/groups/g", `{"type":"room"}`, 400, "bad_request", "type"},
		"name in capitals":       {"ann", "PATCH", "/v1/groups/g", `{"Name":"x"}`, 400, "bad_request", "Name"},
		"name to null":           {"ann", "PATCH", "/v1/groups/g", `{"name":null}`, 400, "bad_request", "name"},
		"name to a number":       {"ann", "PATCH", "/v1/groups/g", `{"name":5}`, 400, "bad_request", "name"},
		"name to nothing":        {"ann", "PATCH", "/v1/groups/g", `{"name":""}`, 400, "bad_request", "name"},
		"muted by a word":        {"ann", "PATCH", "/v1/groups/g", `{"muted":"SECRETVALUE"}`, 400, "bad_request", "muted"},
		"muted to null":          {"ann", "PATCH", "/v1/groups/g", `{"muted":null}`, 400, "bad_request", "muted"},
		"closing a group":        {"ann", "PATCH", "/v1/groups/g", `{"join":"SECRETVALUE"}`, 400, "bad_request", "join"},
		"half a limit":           {"ann", "PATCH", "/v1/groups/g", `{"member_limit":1.5}`, 400, "bad_request", "member_limit"},
		"limit 0 of members":     {"ann", "PATCH", "/v1/groups/g", `{"member_limit":0}`, 400, "bad_request", "member_limit"},
		"attributes to a list":   {"ann", "PATCH", "/v1/groups/g", `{"attributes":["SECRETVALUE"]}`, 400, "bad_request", "attributes"},
		"attributes to null":     {"ann", "PATCH", "/v1/groups/g", `{"attributes":null}`, 400, "bad_request", "attributes"},
		"doubled attributes":     {"ann", "PATCH", "/v1/groups/g", `{"attributes":{"a":1,"a":2}}`, 400, "bad_request", "attributes.a"},
		"changing by member":     {"bob", "PATCH", "/v1/groups/g", `{"muted":true}`, 403, "forbidden", ""},
		"changing by outsider":   {"zoe", "PATCH", "/v1/groups/r", `{"muted":true}`, 403, "not_member", ""},
		"changing nobody":        {"ann", "PATCH", "/v1/groups/g/members/bob", `{}`, 400, "bad_request", ""},
		"unknown role":           {"ann", "PATCH", "/v1/groups/g/members/bob", `{"role":"SECRETVALUE"}`, 400, "bad_request", "role"},
		"empty role":             {"ann", "PATCH", "/v1/groups/g/members/bob", `{"role":"","mute_ms":5}`, 400, "bad_request", "role"},
		"role null":              {"ann", "PATCH", "/v1/groups/g/members/bob", `{"role":null,"mute_ms":5}`, 400, "bad_request", "role"},
		"role blocked":           {"ann", "PATCH", "/v1/groups/g/members/bob", `{"role":"blocked"}`, 400, "bad_request", "role"},
		"mute as text":           {"ann", "PATCH", "/v1/groups/g/members/bob", `{"mute_ms":"SECRETVALUE"}`, 400, "bad_request", "mute_ms"},
		"mute below -1":          {"ann", "PATCH", "/v1/groups/g/members/bob", `{"mute_ms":-2}`, 400, "bad_request", "mute_ms"},
		"mute of ages":           {"ann", "PATCH", "/v1/groups/g/members/bob", `{"mute_ms":9007199254740993}`, 400, "bad_request", "mute_ms"},
		"unknown member field":   {"ann", "PATCH", "/v1/groups/g/members/bob", `{"muted":true}`, 400, "bad_request", "muted"},
		"muting by member":       {"bob", "PATCH", "/v1/groups/g/members/ann", `{"mute_ms":5}`, 403, "forbidden", ""},
		"muting who is not in":   {"ann", "PATCH", "/v1/groups/g/members/zoe", `{"mute_ms":5}`, 404, "not_found", ""},
		"owner stepping down":    {"ann", "PATCH", "/v1/groups/g/members/ann", `{"role":"member"}`, 409, "conflict", ""},
		"muting a bad user id":   {"ann", "PATCH", "/v1/groups/g/members/SECRET%20VALUE", `{"mute_ms":5}`, 400, "bad_request", "user"},
		"blocking by member":     {"bob", "PUT", "/v1/groups/g/blocked/zoe", "", 403, "forbidden", ""},
		"blocking the owner":     {"shop", "PUT", "/v1/groups/g/blocked/ann", "", 409, "conflict", ""},
		"blocking with a body":   {"ann", "PUT", "/v1/groups/g/blocked/zoe", "{}", 400, "bad_request", ""},
		"blocking a bad user id": {"ann", "PUT", "/v1/groups/g/blocked/SECRET%20VALUE", "", 400, "bad_request", "user"},
		"unblocking by member":   {"bob", "DELETE", "/v1/groups/g/blocked/zoe", "", 403, "forbidden", ""},
		"listing the blocked":    {"ann", "GET", "/v1/groups/g/blocked", "", 404, "not_found", ""},
		"getting one blocked":    {"ann", "GET", "/v1/groups/g/blocked/zoe", "", 405, "bad_request", ""},
		"group called hot":       {"shop", "POST", "/v1/groups/hot/join", `{"user":"a"}`, 400, "bad_request", "group"},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, c.who, c.method, c.path, c.body).wantProblem(t, c.status, c.code, c.at)
		})
	}
}
