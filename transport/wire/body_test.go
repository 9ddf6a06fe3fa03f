package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestBodyTakesEveryElementAsItIs(t *testing.T) {
	t.Parallel()
	for name, element := range map[string]string{
		"text":                   `{"type":"text","text":"hi"}`,
		"text in any order":      `{"text":"hi","type":"text"}`,
		"text with escapes":      `{"type":"text","text":"a\n\u00e9\ud83d\ude00\/<&>"}`,
		"text of other scripts":  `{"type":"text","text":"你好 😀"}`,
		"sticker by index":       `{"type":"sticker","index":0}`,
		"sticker by url":         `{"type":"sticker","url":"https://cdn.example.com/s.webp"}`,
		"sticker by data":        `{"type":"sticker","data":"pack-3/7"}`,
		"sticker with all":       `{"type":"sticker","index":7,"url":"/v1/uploads/k/s.webp","data":""}`,
		"voice":                  `{"type":"voice","url":"https://a.example/v.ogg","duration_ms":1500}`,
		"voice with all":         `{"type":"voice","url":"https://a.example/v.ogg","duration_ms":0,"bytes":9007199254740991}`,
		"image":                  `{"type":"image","url":"https://a.example/i.png"}`,
		"image with all":         `{"type":"image","url":"https://a.example/i.png","width":1,"height":2,"bytes":3,"thumb_url":"/v1/uploads/k/t"}`,
		"video":                  `{"type":"video","url":"https://a.example/v.mp4","duration_ms":1}`,
		"video with all":         `{"type":"video","url":"https://a.example/v.mp4","duration_ms":1,"thumb_url":"http://a.example/t","width":1,"height":2,"bytes":3}`,
		"file":                   `{"type":"file","url":"/v1/uploads/a/b.pdf","name":"b.pdf","bytes":0}`,
		"location":               `{"type":"location","latitude":-90,"longitude":180}`,
		"location with all":      `{"type":"location","latitude":48.85,"longitude":-2.29e0,"title":""}`,
		"custom object":          `{"type":"custom","data":{"a":[1,2.50,{"b":null}]}}`,
		"custom null":            `{"type":"custom","data":null}`,
		"custom big number":      `{"type":"custom","data":123456789012345678901234567890.10}`,
		"custom with a type":     `{"type":"custom","data":{"type":"text"},"desc":"d"}`,
		"null where optional":    `{"type":"image","url":"https://a.example/i.png","width":null}`,
		"nested as deep as fits": `{"type":"custom","data":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := "[" + element + "]"
			got, err := Body([]byte(body), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, body, string(got), "kept byte for byte")
		})
	}
}

func TestBodyNamesWhatIsWrongInAnElement(t *testing.T) {
	t.Parallel()
	const url = `"url":"https://a.example/x"`
	for _, c := range []struct{ element, field string }{
		{`{}`, "body[0].type"},
		{`{"text":"hi"}`, "body[0].type"},
		{`{"type":null}`, "body[0].type"},
		{`{"type":7}`, "body[0].type"},
		{`{"type":"Text","text":"hi"}`, "body[0].type"},
		{`{"type":"","text":"hi"}`, "body[0].type"},
		{`{"type":" text","text":"hi"}`, "body[0].type"},
		{`null`, "body[0]"},
		{`"hi"`, "body[0]"},
		{`[]`, "body[0]"},
		{`1`, "body[0]"},

		{`{"type":"text"}`, "body[0].text"},
		{`{"type":"text","text":""}`, "body[0].text"},
		{`{"type":"text","text":null}`, "body[0].text"},
		{`{"type":"text","text":1}`, "body[0].text"},
		{`{"type":"text","text":["hi"]}`, "body[0].text"},
		{`{"type":"text","text":"hi","bold":true}`, "body[0].bold"},
		{`{"type":"text","Text":"hi"}`, "body[0].Text"},
		{`{"type":"text","text":"a","text":"a"}`, "body[0].text"},
		{`{"type":"text","type":"text","text":"a"}`, "body[0].type"},
		{`{"type":"text","text":"a","not a name":1}`, "body[0].?"},

		{`{"type":"sticker"}`, "body[0]"},
		{`{"type":"sticker","index":null}`, "body[0]"},
		{`{"type":"sticker","index":"1"}`, "body[0].index"},
		{`{"type":"sticker","index":1.5}`, "body[0].index"},
		{`{"type":"sticker","data":{}}`, "body[0].data"},
		{`{"type":"sticker","url":""}`, "body[0].url"},
		{`{"type":"sticker","index":1,"name":"x"}`, "body[0].name"},

		{`{"type":"voice","duration_ms":1}`, "body[0].url"},
		{`{"type":"voice",` + url + `}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":-1}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":1.0}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":1e3}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":9007199254740992}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":9223372036854775808}`, "body[0].duration_ms"},
		{`{"type":"voice",` + url + `,"duration_ms":1,"bytes":-1}`, "body[0].bytes"},
		{`{"type":"voice",` + url + `,"duration_ms":1,"width":1}`, "body[0].width"},

		{`{"type":"image"}`, "body[0].url"},
		{`{"type":"image","url":null}`, "body[0].url"},
		{`{"type":"image","url":7}`, "body[0].url"},
		{`{"type":"image",` + url + `,"width":"1"}`, "body[0].width"},
		{`{"type":"image",` + url + `,"width":-1}`, "body[0].width"},
		{`{"type":"image",` + url + `,"height":true}`, "body[0].height"},
		{`{"type":"image",` + url + `,"height":-1}`, "body[0].height"},
		{`{"type":"image",` + url + `,"bytes":9007199254740992}`, "body[0].bytes"},
		{`{"type":"image",` + url + `,"thumb_url":"thumb"}`, "body[0].thumb_url"},
		{`{"type":"image",` + url + `,"thumb_url":1}`, "body[0].thumb_url"},
		{`{"type":"image",` + url + `,"duration_ms":1}`, "body[0].duration_ms"},

		{`{"type":"video","duration_ms":1}`, "body[0].url"},
		{`{"type":"video",` + url + `}`, "body[0].duration_ms"},
		{`{"type":"video",` + url + `,"duration_ms":"1"}`, "body[0].duration_ms"},
		{`{"type":"video",` + url + `,"duration_ms":1,"thumb_url":""}`, "body[0].thumb_url"},
		{`{"type":"video",` + url + `,"duration_ms":1,"width":-1}`, "body[0].width"},
		{`{"type":"video",` + url + `,"duration_ms":1,"height":-1}`, "body[0].height"},
		{`{"type":"video",` + url + `,"duration_ms":1,"bytes":-1}`, "body[0].bytes"},
		{`{"type":"video",` + url + `,"duration_ms":1,"name":"v"}`, "body[0].name"},

		{`{"type":"file","name":"n","bytes":1}`, "body[0].url"},
		{`{"type":"file",` + url + `,"bytes":1}`, "body[0].name"},
		{`{"type":"file",` + url + `,"name":"","bytes":1}`, "body[0].name"},
		{`{"type":"file",` + url + `,"name":1,"bytes":1}`, "body[0].name"},
		{`{"type":"file",` + url + `,"name":"n"}`, "body[0].bytes"},
		{`{"type":"file",` + url + `,"name":"n","bytes":-1}`, "body[0].bytes"},
		{`{"type":"file",` + url + `,"name":"n","bytes":1,"mime":"a/b"}`, "body[0].mime"},

		{`{"type":"location","longitude":0}`, "body[0].latitude"},
		{`{"type":"location","latitude":0}`, "body[0].longitude"},
		{`{"type":"location","latitude":"0","longitude":0}`, "body[0].latitude"},
		{`{"type":"location","latitude":90.01,"longitude":0}`, "body[0].latitude"},
		{`{"type":"location","latitude":-90.01,"longitude":0}`, "body[0].latitude"},
		{`{"type":"location","latitude":0,"longitude":180.01}`, "body[0].longitude"},
		{`{"type":"location","latitude":0,"longitude":-180.01}`, "body[0].longitude"},
		{`{"type":"location","latitude":1e999,"longitude":0}`, "body[0].latitude"},
		{`{"type":"location","latitude":0,"longitude":0,"title":1}`, "body[0].title"},

		{`{"type":"custom"}`, "body[0].data"},
		{`{"type":"custom","desc":"d"}`, "body[0].data"},
		{`{"type":"custom","data":1,"desc":1}`, "body[0].desc"},
		{`{"type":"custom","data":1,"ext":1}`, "body[0].ext"},
		{`{"type":"custom","data":{"a":1,"a":2}}`, "body[0].data.a"},
		{`{"type":"custom","data":[{"a":{"b":1,"b":2}}]}`, "body[0].data[0].a.b"},
	} {
		_, err := Body([]byte("["+c.element+"]"), DefaultLimits)
		require.Error(t, err, c.element)
		t.Run(c.element, func(t *testing.T) {
			t.Parallel()
			requireCode(t, err, domain.CodeBadRequest, c.field)
		})
	}
}

func TestBodyNamesTheElementByItsPlace(t *testing.T) {
	t.Parallel()
	_, err := Body([]byte(`[{"type":"text","text":"a"},{"type":"custom","data":1},{"type":"image","url":"ftp://a"}]`), DefaultLimits)
	requireCode(t, err, domain.CodeBadRequest, "body[2].url")
}

func TestBodyURLs(t *testing.T) {
	t.Parallel()
	long := "https://a.example/" + strings.Repeat("x", domain.MaxURLBytes-len("https://a.example/"))
	for url, ok := range map[string]bool{
		"http://a.example":                 true,
		"https://a.example:8443/x?y=z#f":   true,
		"HTTPS://A.EXAMPLE/x":              true,
		"https://[2001:db8::1]/x":          true,
		"https://例え.jp/画像":                 true,
		"/v1/uploads/2026/x.png":           true,
		"/v1/uploads/x/%E7%94%BB%E5%83%8F": true,
		"/v1/uploads/x/a.png?signature=1":  false,
		"/v1/uploads/x/a.png?":             false,
		"/v1/uploads/x/a.png#f":            false,
		"/v1/uploads/x/a.png#":             false,
		"/v1/uploads/x":                    false,
		"/v1/uploads/x/":                   false,
		"/v1/uploads//a.png":               false,
		"/v1/uploads/x/y/a.png":            false,
		"/v1/uploads/x/..":                 false,
		"/v1/uploads/x/.a":                 false,
		"/v1/uploads/x/%2e%2e":             false,
		"/v1/uploads/x/a%2Fb":              false,
		"/v1/uploads/x/a%5Cb":              false,
		"/v1/uploads/x/a%00":               false,
		"/v1/uploads/x/%61.png":            false,
		"/v1/uploads/x/%e7%94%bb":          false,
		"/v1/uploads/x/\u202egnp.exe":      false,
		"/v1/../v1/uploads/x/a.png":        false,
		"/v1//uploads/x/a.png":             false,
		"//v1/uploads/x/a.png":             false,
		"v1/uploads/x/a.png":               false,
		" /v1/uploads/x/a.png":             false,
		long:                               true,
		long + "x":                         false,
		"":                                 false,
		"x.png":                            false,
		"/x.png":                           false,
		"/v1/uploadsx":                     false,
		"/v1/uploads/../groups":            false,
		"/v1/uploads/%2e%2e/groups":        false,
		"//evil.example/v1/uploads/x":      false,
		"ftp://a.example/x":                false,
		"javascript:alert(1)":              false,
		"data:text/html,hi":                false,
		"https:///x":                       false,
		"https://:443/x":                   false,
		"https:a.example/x":                false,
		"https://a.example/%zz":            false,
		"https://a b.example/":             false,
		" https://a.example/":              false,
		`https://a.example/\u0000`:         false,
		`https://a.example/\n`:             false,
		"mailto:ann@a.example":             false,
		"file:///etc/passwd":               false,
		"https://a.example/" + "\u007f":    false,
		"/V1/uploads/x":                    false,
		"http:/v1/uploads/x":               false,
		"https://a.example:port/x":         false,
		"https://user:secret@a.example/x":  true,
		"https://a.example/v1/uploads/../": true,
	} {
		_, err := Body([]byte(`[{"type":"image","url":"`+url+`"}]`), DefaultLimits)
		if ok {
			require.NoError(t, err, "%.60q", url)
			continue
		}
		require.Error(t, err, "%.60q", url)
		requireCode(t, err, domain.CodeBadRequest, "body[0].url")
	}
}

func TestBodyAsAWhole(t *testing.T) {
	t.Parallel()
	text := `{"type":"text","text":"a"}`
	elements := func(n int) string { return "[" + strings.Repeat(text+",", n-1) + text + "]" }
	for name, c := range map[string]struct {
		body  string
		field string // "": taken
	}{
		"one element":          {elements(1), ""},
		"ten elements":         {elements(10), ""},
		"eleven elements":      {elements(11), "body"},
		"no element":           {`[]`, "body"},
		"missing":              {``, "body"},
		"null":                 {`null`, "body"},
		"an object":            {text, "body"},
		"a string":             {`"hi"`, "body"},
		"not closed":           {`[` + text, "body"},
		"closed twice":         {`[` + text + `]]`, "body"},
		"two values":           {`[` + text + `] []`, "body"},
		"trailing comma":       {`[` + text + `,]`, "body"},
		"single quotes":        {`[{'type':'text'}]`, "body"},
		"a comment":            {`[` + text + `/**/]`, "body"},
		"not UTF-8":            {`[{"type":"text","text":"` + "\xff" + `"}]`, "body"},
		"half a surrogate":     {`[{"type":"text","text":"\ud800"}]`, "body"},
		"a raw control":        {"[{\"type\":\"text\",\"text\":\"a\x01\"}]", "body"},
		"a byte order mark":    {"\ufeff[" + text + "]", "body"},
		"nested beyond reason": {`[{"type":"custom","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}]`, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Body([]byte(c.body), DefaultLimits)
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, domain.CodeBadRequest, c.field)
		})
	}
}

func TestBodyRemovesWhiteSpaceOutsideOfStringsOnly(t *testing.T) {
	t.Parallel()
	raw := []byte(" [\t{ \"type\" :\r\n\"text\" , \"text\" : \" a\\n b \" } ,\n{\"type\":\"custom\",\"data\":{ \"k\" : [ 1 , 2 ] }}\n] ")
	before := string(raw)
	got, err := Body(raw, DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, `[{"type":"text","text":" a\n b "},{"type":"custom","data":{"k":[1,2]}}]`, string(got))
	require.Equal(t, before, string(raw), "the caller's bytes stay as they are")
}

func TestBodySizesAtTheLimit(t *testing.T) {
	t.Parallel()
	custom := func(bytes int) string {
		const empty = `[{"type":"custom","data":""}]`
		return `[{"type":"custom","data":"` + strings.Repeat("x", bytes-len(empty)) + `"}]`
	}
	text := func(s string) string { return `[{"type":"text","text":"` + s + `"}]` }
	for name, c := range map[string]struct {
		body  string
		field string // "": taken
	}{
		"body of 12,288 bytes":               {custom(12_288), ""},
		"body of 12,289 bytes":               {custom(12_289), "body"},
		"white space does not count":         {strings.Repeat(" ", 50_000) + custom(12_288), ""},
		"text of 12,000 bytes":               {text(strings.Repeat("x", 12_000)), ""},
		"text of 12,001 bytes":               {text(strings.Repeat("x", 12_001)), "body[0].text"},
		"text of 4,000 Chinese characters":   {text(strings.Repeat("字", 4000)), ""},
		"and one byte":                       {text(strings.Repeat("字", 4000) + "x"), "body[0].text"},
		"escapes count as what they stand":   {text(strings.Repeat(`\n`, 6000)), ""},
		"but in the body as they are":        {text(strings.Repeat(`\n`, 6200)), "body"},
		"a long text is not the first error": {`[{"type":"text","text":"` + strings.Repeat("x", 12_001) + `"},7]`, "body[0].text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Body([]byte(c.body), DefaultLimits)
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, domain.CodeTooLarge, c.field)
		})
	}
}

func TestBodyErrorsDoNotRepeatValues(t *testing.T) {
	t.Parallel()
	const secret = "SECRETVALUE !"
	for _, body := range []string{
		`"` + secret + `"`,
		`[{"type":"` + secret + `"}]`,
		`[{"type":"text","text":{"` + secret + `":1}}]`,
		`[{"type":"text","text":"a","` + secret + `":1}]`,
		`[{"type":"image","url":"` + secret + `"}]`,
		`[{"type":"image","url":"https://a","width":"` + secret + `"}]`,
		`[{"type":"custom","data":{"` + secret + `":1,"` + secret + `":1}}]`,
		fmt.Sprintf("[%s]", secret),
	} {
		_, err := Body([]byte(body), DefaultLimits)
		require.Error(t, err, body)
		require.NotContains(t, err.Error(), "SECRETVALUE", body)
	}
}
