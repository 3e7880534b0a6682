firstbit trian gpt.json
