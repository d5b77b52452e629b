package message

// This file owns the texts, in every language: the one place where a language is added.
//
// In a text {code}, {app}, {about} and {minutes} stand for what they say. A text message begins with its code, so that it is read in
// the notification, and says to give it to nobody. Texts for SMS use only letters of the GSM alphabet where the language allows: a
// single other letter halves what fits into one segment, and operators pay by the segment.

// texts are the words of one language.
type texts struct {
	speech  string   // the language as gateways for voice know it
	calling []string // calling codes of countries that are written to in it unless a locale says otherwise

	sms      string // code of an application
	smsAbout string // the same, saying what it confirms
	smsEnrol string // code that sets up the authenticator

	subject      string
	subjectEnrol string
	mail         string // paragraph under the code
	mailAbout    string // paragraph that says what it confirms

	say      string // before the digits
	sayEnrol string
	sayAbout string // says what it confirms
	again    string // before their repetition
	end      string
}

// fallback is the language of who is written to in none of the others.
const fallback = "en"

var catalogue = map[string]texts{
	"en": {
		speech:       "en-US",
		sms:          "{code} is your {app} code. It is good for {minutes} min. Give it to nobody, not even to us.",
		smsAbout:     "{code} is your {app} code for: {about}. It is good for {minutes} min. Give it to nobody.",
		smsEnrol:     "{code} sets up this phone as your authenticator. If you did not ask for it, do nothing, and give it to nobody.",
		subject:      "{code} is your {app} code",
		subjectEnrol: "{code} sets up your authenticator",
		mail:         "This code is good for {minutes} minutes. Give it to nobody: nobody will ever ask you for it. If you did not try to sign in, somebody may know your password; change it.",
		mailAbout:    "It confirms: {about}",
		say:          "Hello. This is your code for {app}.",
		sayEnrol:     "Hello. This code sets up your authenticator.",
		sayAbout:     "It confirms: {about}.",
		again:        "Once more:",
		end:          "Give this code to nobody. Goodbye.",
	},
	"es": {
		speech: "es-ES", calling: []string{"34", "51", "52", "53", "54", "56", "57", "58", "502", "503", "504", "505", "506", "507", "591", "593", "595", "598"},
		sms:          "{code} es tu clave de {app}. Vale {minutes} min. No la des a nadie, tampoco a nosotros.",
		smsAbout:     "{code} es tu clave de {app} para: {about}. Vale {minutes} min. No la des a nadie.",
		smsEnrol:     "{code} es la clave para usar este teléfono como tu autenticador. Si no la pediste, no hagas nada y no la des a nadie.",
		subject:      "{code} es tu clave de {app}",
		subjectEnrol: "{code} es la clave para configurar tu autenticador",
		mail:         "Esta clave vale {minutes} minutos. No la des a nadie: nadie te la pedirá nunca. Si no has intentado entrar, puede que alguien conozca tu contraseña; cámbiala.",
		mailAbout:    "Confirma: {about}",
		say:          "Hola. Esta es tu clave de {app}.",
		sayEnrol:     "Hola. Esta clave configura tu autenticador.",
		sayAbout:     "Confirma: {about}.",
		again:        "Otra vez:",
		end:          "No des esta clave a nadie. Adiós.",
	},
	"pt": {
		speech: "pt-BR", calling: []string{"55", "244", "258", "351"},
		sms:          "{code} é o seu código {app}. Vale por {minutes} min. Não o dê a ninguém.",
		smsAbout:     "{code} é o seu código {app} para: {about}. Vale por {minutes} min. Não o dê a ninguém.",
		smsEnrol:     "{code} configura este telefone como seu autenticador. Se não o pediu, não faça nada e não o dê a ninguém.",
		subject:      "{code} é o seu código {app}",
		subjectEnrol: "{code} configura o seu autenticador",
		mail:         "Este código vale por {minutes} minutos. Não o dê a ninguém: nunca ninguém o pedirá. Se não tentou entrar, alguém pode conhecer a sua senha; mude-a.",
		mailAbout:    "Confirma: {about}",
		say:          "Olá. Este é o seu código {app}.",
		sayEnrol:     "Olá. Este código configura o seu autenticador.",
		sayAbout:     "Confirma: {about}.",
		again:        "Mais uma vez:",
		end:          "Não dê este código a ninguém. Até logo.",
	},
	"fr": {
		speech: "fr-FR", calling: []string{"33", "221", "225", "237", "262"},
		sms:          "{code} est votre code {app}. Il est valable {minutes} min. Ne le donnez à personne, nous compris.",
		smsAbout:     "{code} est votre code {app} pour : {about}. Il est valable {minutes} min. Ne le donnez à personne.",
		smsEnrol:     "{code} configure ce téléphone comme votre authentificateur. Sans demande de votre part, ne faites rien et ne le donnez à personne.",
		subject:      "{code} est votre code {app}",
		subjectEnrol: "{code} configure votre authentificateur",
		mail:         "Ce code est valable {minutes} minutes. Ne le donnez à personne : personne ne vous le demandera jamais. Si vous n'avez pas essayé de vous connecter, quelqu'un connaît peut-être votre mot de passe ; changez-le.",
		mailAbout:    "Il confirme : {about}",
		say:          "Bonjour. Voici votre code {app}.",
		sayEnrol:     "Bonjour. Ce code configure votre authentificateur.",
		sayAbout:     "Il confirme : {about}.",
		again:        "Encore une fois :",
		end:          "Ne donnez ce code à personne. Au revoir.",
	},
	"de": {
		speech: "de-DE", calling: []string{"49", "43", "423"},
		sms:          "{code} ist Ihr Code für {app}. Er gilt {minutes} Min. Geben Sie ihn niemandem, auch uns nicht.",
		smsAbout:     "{code} ist Ihr Code für {app}: {about}. Er gilt {minutes} Min. Geben Sie ihn niemandem.",
		smsEnrol:     "{code} richtet dieses Telefon als Ihren Authenticator ein. Nicht von Ihnen angefordert? Tun Sie nichts, und geben Sie ihn niemandem.",
		subject:      "{code} ist Ihr Code für {app}",
		subjectEnrol: "{code} richtet Ihren Authenticator ein",
		mail:         "Der Code gilt {minutes} Minuten. Geben Sie ihn niemandem: Niemand wird Sie je danach fragen. Wenn Sie sich nicht anmelden wollten, kennt vielleicht jemand Ihr Passwort; ändern Sie es.",
		mailAbout:    "Er bestätigt: {about}",
		say:          "Guten Tag. Das ist Ihr Code für {app}.",
		sayEnrol:     "Guten Tag. Dieser Code richtet Ihren Authenticator ein.",
		sayAbout:     "Er bestätigt: {about}.",
		again:        "Noch einmal:",
		end:          "Geben Sie diesen Code niemandem. Auf Wiederhören.",
	},
	"it": {
		speech: "it-IT", calling: []string{"39", "378"},
		sms:          "{code} è il tuo codice {app}. Vale {minutes} min. Non darlo a nessuno, neanche a noi.",
		smsAbout:     "{code} è il tuo codice {app} per: {about}. Vale {minutes} min. Non darlo a nessuno.",
		smsEnrol:     "{code} imposta questo telefono come tuo autenticatore. Se non l'hai chiesto, non fare nulla e non darlo a nessuno.",
		subject:      "{code} è il tuo codice {app}",
		subjectEnrol: "{code} imposta il tuo autenticatore",
		mail:         "Questo codice vale {minutes} minuti. Non darlo a nessuno: nessuno te lo chiederà mai. Se non hai provato ad accedere, qualcuno potrebbe conoscere la tua password; cambiala.",
		mailAbout:    "Conferma: {about}",
		say:          "Salve. Questo è il tuo codice {app}.",
		sayEnrol:     "Salve. Questo codice imposta il tuo autenticatore.",
		sayAbout:     "Conferma: {about}.",
		again:        "Ancora una volta:",
		end:          "Non dare questo codice a nessuno. Arrivederci.",
	},
	"nl": {
		speech: "nl-NL", calling: []string{"31", "597"},
		sms:          "{code} is je {app}-code. Hij is {minutes} min geldig. Geef hem aan niemand, ook niet aan ons.",
		smsAbout:     "{code} is je {app}-code voor: {about}. Hij is {minutes} min geldig. Geef hem aan niemand.",
		smsEnrol:     "{code} maakt van deze telefoon je authenticator. Niet door jou gevraagd? Doe niets, en geef hem aan niemand.",
		subject:      "{code} is je {app}-code",
		subjectEnrol: "{code} stelt je authenticator in",
		mail:         "Deze code is {minutes} minuten geldig. Geef hem aan niemand: niemand zal er ooit om vragen. Heb je niet geprobeerd in te loggen, dan kent iemand misschien je wachtwoord; verander het.",
		mailAbout:    "Hij bevestigt: {about}",
		say:          "Hallo. Dit is je code voor {app}.",
		sayEnrol:     "Hallo. Deze code stelt je authenticator in.",
		sayAbout:     "Hij bevestigt: {about}.",
		again:        "Nog een keer:",
		end:          "Geef deze code aan niemand. Tot ziens.",
	},
	"pl": {
		speech: "pl-PL", calling: []string{"48"},
		sms:          "{code} to kod do {app} na {minutes} min. Nie podawaj go nikomu, nawet nam.",
		smsAbout:     "{code} to kod do {app}: {about}. Na {minutes} min. Nie podawaj go nikomu.",
		smsEnrol:     "{code} ustawia ten telefon jako Twój autentykator. Jeśli to nie Ty, nie rób nic i nie podawaj go nikomu.",
		subject:      "{code} to kod do {app}",
		subjectEnrol: "{code} ustawia Twój autentykator",
		mail:         "Ten kod jest ważny {minutes} minut. Nie podawaj go nikomu: nikt nigdy o niego nie zapyta. Jeśli to nie Ty próbujesz się zalogować, ktoś może znać Twoje hasło; zmień je.",
		mailAbout:    "Potwierdza: {about}",
		say:          "Dzień dobry. Oto Twój kod do {app}.",
		sayEnrol:     "Dzień dobry. Ten kod ustawia Twój autentykator.",
		sayAbout:     "Potwierdza: {about}.",
		again:        "Jeszcze raz:",
		end:          "Nie podawaj tego kodu nikomu. Do widzenia.",
	},
	"tr": {
		speech: "tr-TR", calling: []string{"90"},
		sms:          "{code} {app} kodunuz. Süresi {minutes} dk. Kimseye vermeyin, bize bile.",
		smsAbout:     "{code} {app} kodunuz: {about}. Süresi {minutes} dk. Kimseye vermeyin.",
		smsEnrol:     "{code} bu telefonu kimlik doğrulayıcınız yapar. Siz istemediyseniz bir şey yapmayın ve kodu kimseye vermeyin.",
		subject:      "{code} {app} kodunuz",
		subjectEnrol: "{code} kimlik doğrulayıcınızı kurar",
		mail:         "Bu kod {minutes} dakika geçerlidir. Kimseye vermeyin: kimse sizden bu kodu istemez. Oturum açmayı siz denemediyseniz biri parolanızı biliyor olabilir; değiştirin.",
		mailAbout:    "Onayladığı işlem: {about}",
		say:          "Merhaba. {app} kodunuz:",
		sayEnrol:     "Merhaba. Bu kod kimlik doğrulayıcınızı kurar.",
		sayAbout:     "Onayladığı işlem: {about}.",
		again:        "Bir kez daha:",
		end:          "Bu kodu kimseye vermeyin. İyi günler.",
	},
	"ja": {
		speech: "ja-JP", calling: []string{"81"},
		sms:          "{code} は {app} の確認コードです。有効期限は{minutes}分。誰にも教えないでください。",
		smsAbout:     "{code} は {app} の確認コードです（{about}）。有効期限は{minutes}分。誰にも教えないでください。",
		smsEnrol:     "{code} はこの電話を認証アプリとして登録するコードです。心当たりがなければ何もせず、誰にも教えないでください。",
		subject:      "{code} は {app} の確認コードです",
		subjectEnrol: "{code} は認証アプリの登録コードです",
		mail:         "このコードは{minutes}分間有効です。誰にも教えないでください。コードを尋ねることは決してありません。ログインに心当たりがない場合は、パスワードが知られているおそれがあります。変更してください。",
		mailAbout:    "確認する内容：{about}",
		say:          "こんにちは。{app} の確認コードをお伝えします。",
		sayEnrol:     "こんにちは。認証アプリの登録コードをお伝えします。",
		sayAbout:     "確認する内容は、{about}。",
		again:        "もう一度お伝えします。",
		end:          "このコードは誰にも教えないでください。失礼いたします。",
	},
}
