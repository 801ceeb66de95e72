"""The story world in Chinese: a small and a base lexicon. Words stand without blanks between them."""

from textgym.worlds.story.events import Kind
from textgym.worlds.story.lexicon import Lexicon, Relative

SMALL = Lexicon(
    name="zh-small",
    people=[
        *((name, "m") for name in ("小明", "阿强", "大山", "志远")),
        *((name, "f") for name in ("小红", "阿珍", "秀英", "美玲")),
    ],
    places=["厨房", "谷仓", "地窖", "阁楼", "集市", "花园", "塔楼", "磨坊"],
    objects=[(noun, 0) for noun in ("小刀", "杯子", "油灯", "书本", "钥匙", "戒指", "皮鼓", "铜钱")],
    colours=["红色", "蓝色", "绿色", "黑色", "白色", "黄色", "棕色", "灰色"],
    templates={
        Kind.IS_IN: ["A 在 L 里"],
        Kind.COLOUR: ["o 是 C 的"],
        Kind.OBJECT_AT: ["O 放在 L 里"],
        Kind.HAS: ["A 有 O"],
        Kind.GO: ["A 去了 L", "A 走到 L"],
        Kind.TAKE: ["A 拿起了 O", "A 捡起了 O"],
        Kind.DROP: ["A 放下了 O", "A 丢下了 O"],
        Kind.GIVE: ["A 把 O 给了 B"],
        Kind.MEET: ["A 遇见了 B"],
        Kind.FILLER: ["那是 一个 <adj> 的 <time>", "风 很 <weather>", "谁也 没有 说话"],
        Kind.END: ["故事 完"],
    },
    noun_phrases=("o", "C 的 o"),
    pronouns=("他", "她"),
    connectives=["然后", "不久", "后来"],
    stop="。",
    comma="，",
    bar="｜",
    classes={
        "adj": ["寒冷", "温暖", "安静", "漫长"],
        "time": ["白天", "夜晚", "早晨", "傍晚"],
        "weather": ["大", "小"],
    },
    blank="",
)

_MEN = """
    小明 阿强 大山 志远 建国 文博 子轩 浩然 俊杰 国栋 家豪 立新 永福 天佑 承志 海涛 晓东 卫平 振华 光明 思源 一鸣 少卿 伯庸
    德胜 长庚 汉文 继祖 敬之 开泰 茂林 明远 启明 庆云 绍华 世杰 守仁 松涛 万里 学文
""".split()
_WOMEN = """
    小红 阿珍 秀英 美玲 淑芬 雅琴 诗涵 梦洁 欣怡 婉清 若兰 春梅 冬雪 玉兰 桂花 晓燕 丽华 慧敏 佳宁 思雨 可心 月娥 凤仪 素素
    彩霞 翠花 芳菲 海棠 红梅 金凤 静怡 菊香 兰芝 莲心 灵芸 牡丹 巧云 青青 秋月 瑞雪
""".split()
_PLACES = """
    厨房 谷仓 地窖 阁楼 集市 花园 塔楼 磨坊 森林 码头 教堂 书房 面包房 马厩 作坊 果园 城堡 客栈 学堂 博物馆 戏院 茅屋 草地
    山洞 石桥 车站 监狱 宫殿 寺庙 采石场 棚屋 温室 浴室 卧室 走廊 院子 墓地 葡萄园 风车房 仓库 工厂 医院 衙门 酒馆 酒坊 灯塔
    修道院 村庄 山谷 峡谷 沙漠 沼泽 公园 广场 隧道 帐篷 营地 茶馆
""".split()
_OBJECTS = {  # by the measure word that they are counted with
    "把": "小刀 钥匙 锤子 长剑 刷子 雨伞 扇子 梳子 椅子 斧头 锁头 铁锹 茶壶 勺子".split(),
    "个": "杯子 皮鼓 篮子 瓶子 箱子 盘子 铃铛 枕头 皇冠 罗盘 苹果 鸡蛋 花瓶 水壶 木桶 皮球 布袋 笼子 蛋糕 娃娃 香囊 葫芦 玉佩 算盘".split(),
    "盏": "油灯 灯笼".split(),
    "本": "书本 账簿 画册 日记 字典 经书".split(),
    "枚": "戒指 铜钱 徽章 印章 铁钉 纽扣".split(),
    "张": "地图 毯子 弓箭 面具 桌子 渔网 凉席".split(),
    "支": "长笛 钢笔 蜡烛 毛笔 箭矢 玉箫".split(),
    "面": "镜子 盾牌 旗帜 铜锣".split(),
    "条": "绳子 丝带 围巾 项链 腰带 手帕".split(),
    "封": "信件".split(),
    "顶": "帽子 轿子 斗笠".split(),
}

BASE = Lexicon(
    name="zh-base",
    people=[*((name, "m") for name in _MEN), *((name, "f") for name in _WOMEN)],
    places=_PLACES,
    objects=[(noun, number) for number, nouns in enumerate(_OBJECTS.values()) for noun in nouns],
    colours=["红色", "蓝色", "绿色", "黑色", "白色", "黄色", "棕色", "灰色"],
    templates={
        Kind.IS_IN: ["A 在 L 里", "A 站在 L 里", "A 等在 L 里"],
        Kind.COLOUR: ["o 是 C 的", "o 全是 C 的"],
        Kind.OBJECT_AT: ["O 放在 L 里", "L 里 有 O"],
        Kind.HAS: ["A 有 O", "A 带着 O", "A 拿着 O"],
        Kind.GO: ["A 去了 L", "A 走到 L", "A 跑到 L", "A 赶往 L"],
        Kind.TAKE: ["A 拿起了 O", "A 捡起了 O", "A 抓起了 O", "A 找到了 O"],
        Kind.DROP: ["A 放下了 O", "A 丢下了 O", "A 留下了 O"],
        Kind.GIVE: ["A 把 O 给了 B", "A 把 O 交给 B", "A 把 O 递给 B"],
        Kind.MEET: ["A 遇见了 B", "A 看见了 B", "A 跟 B 说了话"],
        Kind.FILLER: [
            "那是 一段 <adj> 的 <time>",
            "<sky> 很 <weather>",
            "谁也 没有 说话",
            "远处 传来 <adj> 的 <noise>",
            "<adj> 的 <time> 似乎 很 <mood>",
        ],
        Kind.END: ["故事 完"],
    },
    noun_phrases=("那 [cl] o", "那 [cl] C 的 o"),
    pronouns=("他", "她"),
    connectives=["然后", "不久", "后来", "与此同时", "忽然", "最后"],
    stop="。",
    comma="，",
    bar="｜",
    classes={
        "adj": """寒冷 温暖 安静 漫长 昏暗 明亮 潮湿 干燥 阴沉 可爱 沉闷 朦胧 灿烂 遥远 短暂 温柔 苦涩 苍白 寂寞 辽阔""".split(),
        "weather": "强烈 平静 柔和 阴郁 美丽 惨淡 温和 猛烈".split(),
        "mood": "无尽 奇怪 悲伤 快乐 凄凉 宁静".split(),
        "time": "白天 夜晚 早晨 傍晚 午后 冬天 夏天 秋天 春天 时光 日子 岁月".split(),
        "sky": "风 天空 雨 月亮 太阳 微风 雾 暴风".split(),
        "noise": "响声 歌声 哭声 犬吠 哨声 雷声".split(),
    },
    forms={"cl": list(_OBJECTS)},
    before=frozenset({"cl"}),
    relatives=[
        Relative(Kind.IS_IN, "正 在 L2 的 A"),
        Relative(Kind.HAS, "带着 O2 的 A"),
    ],
    blank="",
    zipf=0.6,
)
