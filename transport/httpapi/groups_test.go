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
		"group called hot":       {"shop", "POST", "/v1/groups/hot/join", `{"user":"a"}`, 400, "bad_request", "group"},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, c.who, c.method, c.path, c.body).wantProblem(t, c.status, c.code, c.at)
		})
	}
}
